// Elementwise operators against the double reference, in place as well, and SiLU at the extremes.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kSizes[] = {1, 15, 16, 33, 1000, 100003};

TEST(LinearCombination, MatchesReferenceAlsoInPlace) {
  for (const OperatorTable* table : tables()) {
    for (const int64_t n : kSizes) {
      const Floats x = random_floats(n, 1), z = random_floats(n, 2);
      Doubles both, one;
      for (int64_t i = 0; i < n; ++i) {
        both.push_back(1.5 * x[i] - 0.25 * z[i]);
        one.push_back(1.5 * x[i]);
      }
      Floats y = poisoned(n), in_x = x, in_z = z;
      table->linear_combination({n, 1.5f, x.data(), -0.25f, z.data(), y.data()});
      table->linear_combination({n, 1.5f, in_x.data(), -0.25f, z.data(), in_x.data()});
      table->linear_combination({n, 1.5f, x.data(), -0.25f, in_z.data(), in_z.data()});
      expect_close(y, both, 2e-7, "linear_combination");
      expect_same_bits(in_x, y, "y is x");
      expect_same_bits(in_z, y, "y is z");
      y = poisoned(n);
      table->linear_combination({n, 1.5f, x.data(), kInfinity, nullptr, y.data()});
      expect_close(y, one, 2e-7, "linear_combination without z");
    }
  }
}

TEST(Silu, MatchesReferenceAlsoInPlace) {
  for (const OperatorTable* table : tables()) {
    for (const int64_t n : kSizes) {
      const Floats x = random_floats(n, 1, 4), dy = random_floats(n, 2);
      Floats y = poisoned(n), in_place = x, dx = poisoned(n);
      table->silu({n, x.data(), y.data()});
      table->silu({n, in_place.data(), in_place.data()});
      table->silu_backward({n, x.data(), dy.data(), dx.data()});
      expect_close(y, reference::silu(to_double(x)), 3e-7, "silu");
      expect_same_bits(in_place, y, "silu in place");
      expect_close(dx, reference::silu_backward(to_double(x), to_double(dy)), 1e-6,
                   "silu_backward");
    }
  }
}

// Relative to each value, not to the largest: this is where the exponential's own error shows.
TEST(Silu, IsAccurateOverItsRange) {
  for (const OperatorTable* table : tables()) {
    Floats x;
    for (float v = -85; v < 85; v += 0.0137f) x.push_back(v);
    Floats y = poisoned(static_cast<int64_t>(x.size()));
    table->silu({static_cast<int64_t>(x.size()), x.data(), y.data()});
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = x[i] * reference::sigmoid(x[i]);
      ASSERT_NEAR(y[i], expected, 3e-7 * std::abs(expected)) << x[i];
    }
  }
}

TEST(Silu, Extremes) {
  for (const OperatorTable* table : tables()) {
    Floats x(64, std::numeric_limits<float>::quiet_NaN());
    x[0] = kInfinity;
    x[1] = 1000;
    x[2] = -1000;
    x[3] = 0;
    x[4] = -89.5f;
    Floats y(64);
    table->silu({64, x.data(), y.data()});
    EXPECT_EQ(y[0], kInfinity);
    EXPECT_EQ(y[1], 1000);
    EXPECT_EQ(y[2], 0);
    EXPECT_EQ(y[3], 0);
    EXPECT_NEAR(y[4], 0, 1e-36);
    for (size_t i = 5; i < y.size(); ++i) EXPECT_TRUE(std::isnan(y[i]));
  }
}

TEST(Silu, ReferenceGradientIsTheDerivative) {
  const Doubles x = to_double(random_floats(40, 1, 3)), dy = to_double(random_floats(40, 2));
  check_gradient([&](const Doubles& v) { return dot(reference::silu(v), dy); }, x,
                 reference::silu_backward(x, dy), "silu");
}

TEST(TimestepEmbedding, MatchesReference) {
  for (const OperatorTable* table : tables()) {
    const Floats t = {0, 1, 17, 500, 999, 3.25f};
    for (const int64_t channels : {2, 32, 128, 130}) {
      Floats emb = poisoned(6 * channels);
      table->timestep_embedding({6, channels, t.data(), emb.data()});
      expect_close(emb, reference::timestep_embedding(channels, to_double(t)), 1e-7, "embedding");
    }
    Floats emb(6);
    EXPECT_THROW(table->timestep_embedding({1, 3, t.data(), emb.data()}), Error);
    EXPECT_THROW(table->timestep_embedding({1, 0, t.data(), emb.data()}), Error);
  }
}

TEST(AddNoise, MatchesReferenceAlsoInPlace) {
  for (const OperatorTable* table : tables()) {
    for (const auto [n, elements] : rows_cases()) {
      const Floats a = random_floats(n, 1), b = random_floats(n, 2);
      const Floats x = random_floats(n * elements, 3), z = random_floats(n * elements, 4);
      Doubles expected;
      for (int64_t i = 0; i < n * elements; ++i)
        expected.push_back(static_cast<double>(a[i / elements]) * x[i] +
                           static_cast<double>(b[i / elements]) * z[i]);
      Floats y = poisoned(n * elements), in_z = z;
      table->add_noise({n, elements, a.data(), b.data(), x.data(), z.data(), y.data()});
      table->add_noise({n, elements, a.data(), b.data(), x.data(), in_z.data(), in_z.data()});
      expect_close(y, expected, 2e-7, "add_noise");
      expect_same_bits(in_z, y, "add_noise in place");
    }
  }
}

TEST(Elementwise, EmptyIsFineAndNullIsNot) {
  for (const OperatorTable* table : tables()) {
    EXPECT_NO_THROW(table->silu({0, nullptr, nullptr}));
    EXPECT_NO_THROW(table->linear_combination({0, 1, nullptr, 1, nullptr, nullptr}));
    EXPECT_NO_THROW(table->add_noise({0, 5, nullptr, nullptr, nullptr, nullptr, nullptr}));
    EXPECT_THROW(table->silu({4, nullptr, nullptr}), Error);
    EXPECT_THROW(table->silu({-1, nullptr, nullptr}), Error);
    EXPECT_THROW(table->silu_backward({4, nullptr, nullptr, nullptr}), Error);
    EXPECT_THROW(table->linear_combination({4, 1, nullptr, 1, nullptr, nullptr}), Error);
    EXPECT_THROW(table->add_noise({2, 2, nullptr, nullptr, nullptr, nullptr, nullptr}), Error);
  }
}

}  // namespace
}  // namespace diffscm::kernels
