// Elementwise operators against the double reference, in place and misaligned as well, and SiLU at
// the extremes.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kSizes[] = {1, 15, 16, 33, 1000, 100003};
constexpr int64_t kOffsets[] = {0, 1};  // arrays that allow 16-byte accesses, and some that do not

TYPED_TARGET_TEST(LinearCombination, MatchesReferenceAlsoInPlace) {
  const auto& combine = d.table.of(BasicLinearCombinationArgs<T>{});
  for (const int64_t n : kSizes) {
    d.offset = kOffsets[n % 2];
    const auto x = d.input<T>(random_floats(n, 1)), z = d.input<T>(random_floats(n, 2));
    auto y = d.output<T>(n);
    auto in_x = d.inout<T>(x.floats()), in_z = d.inout<T>(z.floats());
    const Doubles xs = x.doubles(), zs = z.doubles();
    Doubles both, one;
    for (int64_t i = 0; i < n; ++i) {
      both.push_back(1.5 * xs[i] - 0.25 * zs[i]);
      one.push_back(1.5 * xs[i]);
    }
    combine({n, 1.5f, x, -0.25f, z, y});
    combine({n, 1.5f, in_x, -0.25f, z, in_x});
    combine({n, 1.5f, x, -0.25f, in_z, in_z});
    expect_close(y, both, 2e-7, "linear_combination");
    expect_same_bits(in_x, y, "y is x");
    expect_same_bits(in_z, y, "y is z");
    y.poison();
    combine({n, 1.5f, x, kInfinity, nullptr, y});
    expect_close(y, one, 2e-7, "linear_combination without z");
  }
}

TARGET_TEST(Relu, MatchesReferenceAlsoInPlace) {
  for (const int64_t n : kSizes) {
    d.offset = kOffsets[n % 2];
    Floats values = random_floats(n, 1), gradients = random_floats(n, 2);
    values[0] = 0;  // no gradient at the kink
    const auto x = d.input(values), dy = d.input(gradients);
    auto y = d.output(n), dx = d.output(n), in_place = d.inout(values), over = d.inout(gradients);
    d.table.relu({n, x, y});
    d.table.relu({n, in_place, in_place});
    d.table.relu_backward({n, y, dy, dx});
    d.table.relu_backward({n, y, over, over});
    Doubles expected, expected_dx;
    for (int64_t i = 0; i < n; ++i) {
      expected.push_back(std::max(0.0f, values[i]));
      expected_dx.push_back(values[i] > 0 ? gradients[i] : 0);
    }
    expect_close(y, expected, 0, "relu");
    expect_close(dx, expected_dx, 0, "relu_backward");
    expect_same_bits(in_place, y, "relu in place");
    expect_same_bits(over, dx, "relu_backward in place");
  }
  const auto nan = d.input(Floats{std::numeric_limits<float>::quiet_NaN()});
  auto y = d.output(1);
  d.table.relu({1, nan, y});
  EXPECT_TRUE(std::isnan(y.floats()[0]));
  EXPECT_THROW(d.table.relu({-1, nan, y}), Error);
  EXPECT_THROW(d.table.relu({1, nullptr, y}), Error);
  EXPECT_THROW(d.table.relu_backward({1, nan, nullptr, y}), Error);
}

TYPED_TARGET_TEST(Silu, MatchesReferenceAlsoInPlace) {
  const auto& silu = d.table.of(BasicSiluArgs<T>{});
  const auto& silu_backward = d.table.of(BasicSiluBackwardArgs<T>{});
  for (const int64_t n : kSizes) {
    d.offset = kOffsets[n % 2];
    const auto x = d.input<T>(random_floats(n, 1, 4)), dy = d.input<T>(random_floats(n, 2));
    auto y = d.output<T>(n), dx = d.output<T>(n), in_place = d.inout<T>(x.floats());
    silu({n, x, y});
    silu({n, in_place, in_place});
    silu_backward({n, x, dy, dx});
    expect_close(y, reference::silu(x.doubles()), 3e-7, "silu");
    expect_same_bits(in_place, y, "silu in place");
    expect_close(dx, reference::silu_backward(x.doubles(), dy.doubles()), 1e-6, "silu_backward");
  }
}

// Relative to each value, not to the largest: this is where the exponential's own error shows.
TARGET_TEST(Silu, IsAccurateOverItsRange) {
  Floats x;
  for (float v = -85; v < 85; v += 0.0137f) x.push_back(v);
  const auto n = static_cast<int64_t>(x.size());
  const auto in = d.input(x);
  auto y = d.output(n);
  d.table.silu({n, in, y});
  const Floats actual = y.floats();
  for (size_t i = 0; i < x.size(); ++i) {
    const double expected = x[i] * reference::sigmoid(x[i]);
    ASSERT_NEAR(actual[i], expected, 3e-7 * std::abs(expected)) << x[i];
  }
}

TYPED_TARGET_TEST(Silu, Extremes) {
  Floats values(64, std::numeric_limits<float>::quiet_NaN());
  values[0] = kInfinity;
  values[1] = 1024;
  values[2] = -1024;
  values[3] = 0;
  values[4] = -89.5f;
  const auto x = d.input<T>(values);
  auto out = d.output<T>(64);
  d.table.of(BasicSiluArgs<T>{})({64, x, out});
  const Floats y = out.floats();
  EXPECT_EQ(y[0], kInfinity);
  EXPECT_EQ(y[1], 1024);
  EXPECT_EQ(y[2], 0);
  EXPECT_EQ(y[3], 0);
  EXPECT_NEAR(y[4], 0, 1e-36);
  for (size_t i = 5; i < y.size(); ++i) EXPECT_TRUE(std::isnan(y[i]));
}

TEST(Silu, ReferenceGradientIsTheDerivative) {
  const Doubles x = to_double(random_floats(40, 1, 3)), dy = to_double(random_floats(40, 2));
  check_gradient([&](const Doubles& v) { return dot(reference::silu(v), dy); }, x,
                 reference::silu_backward(x, dy), "silu");
}

// Every bf16 value there is survives the way to f32 and back; what lies between two rounds to the
// nearer one and, half way, to the even one.
TARGET_TEST_ON("emu cuda", Cast, IsExactAndRoundsToNearestEven) {
  std::vector<bf16> all;
  Floats between;
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    all.push_back({static_cast<uint16_t>(bits)});
    for (const uint32_t low : {0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      between.push_back(std::bit_cast<float>(bits << 16 | low));
  }
  const auto n = static_cast<int64_t>(all.size()), m = static_cast<int64_t>(between.size());
  const auto is_nan = [](bf16 x) { return (x.bits & 0x7fff) > 0x7f80; };

  const auto x = d.input(all);
  auto wide = d.output(n);
  auto back = d.output<bf16>(n);
  d.table.cast_to_f32({n, x, wide});
  d.table.cast_to_bf16({n, wide, back});
  const Floats widened = wide.values();
  const std::vector<bf16> returned = back.values();
  for (int64_t i = 0; i < n; ++i) {
    if (is_nan(all[i])) {
      ASSERT_TRUE(std::isnan(widened[i]) && is_nan(returned[i])) << i;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(widened[i]), static_cast<uint32_t>(all[i].bits) << 16);
      ASSERT_EQ(returned[i].bits, all[i].bits);
    }
  }

  const auto y = d.input(between);
  auto rounded = d.output<bf16>(m);
  d.table.cast_to_bf16({m, y, rounded});
  const std::vector<bf16> actual = rounded.values();
  for (int64_t i = 0; i < m; ++i) {
    if (std::isnan(between[i])) {
      ASSERT_TRUE(is_nan(actual[i])) << i;
      continue;
    }
    const auto below = static_cast<uint32_t>(i / 5);  // towards zero
    const uint32_t low = std::bit_cast<uint32_t>(between[i]) & 0xffff;
    const bool up = low > 0x8000 || (low == 0x8000 && below % 2 == 1);
    ASSERT_EQ(actual[i].bits, below + up) << between[i];
  }
}

TARGET_TEST_ON("emu cuda", Cast, EverySizeAndAlignment) {
  for (const int64_t n : kSizes) {
    d.offset = kOffsets[n % 2];
    const auto x = d.input(random_floats(n, 1));
    auto narrow = d.output<bf16>(n);
    auto wide = d.output(n);
    d.table.cast_to_bf16({n, x, narrow});
    d.table.cast_to_f32({n, narrow, wide});
    expect_close(narrow, x.doubles(), 0, "cast_to_bf16");
    expect_same_bits(wide, narrow, "cast_to_f32");
  }
}

TARGET_TEST(TimestepEmbedding, MatchesReference) {
  const auto t = d.input(Floats{0, 1, 17, 500, 999, 3.25f});
  for (const int64_t channels : {2, 32, 128, 130}) {
    auto emb = d.output(6 * channels);
    d.table.timestep_embedding({6, channels, t, emb});
    expect_close(emb, reference::timestep_embedding(channels, t.doubles()), 1e-7, "embedding");
    if (channels == 2) continue;
    d.table.timestep_embedding({6, channels, t, emb, /*last_frequency=*/true});
    expect_close(emb, reference::timestep_embedding(channels, t.doubles(), true), 1e-7,
                 "embedding to the last frequency");
  }
  auto emb = d.output(6);
  EXPECT_THROW(d.table.timestep_embedding({1, 3, t, emb}), Error);
  EXPECT_THROW(d.table.timestep_embedding({1, 0, t, emb}), Error);
  EXPECT_THROW(d.table.timestep_embedding({1, 2, t, emb, /*last_frequency=*/true}), Error);
}

TARGET_TEST(CombineSamples, MatchesReferenceAlsoInPlace) {
  for (const auto [n, elements] : rows_cases()) {
    d.offset = kOffsets[elements % 2];
    const auto a = d.input(random_floats(n, 1)), b = d.input(random_floats(n, 2));
    const auto x = d.input(random_floats(n * elements, 3));
    const auto z = d.input(random_floats(n * elements, 4));
    auto y = d.output(n * elements), in_z = d.inout(z.floats());
    Doubles both, one;
    const Doubles as = a.doubles(), bs = b.doubles(), xs = x.doubles(), zs = z.doubles();
    for (int64_t i = 0; i < n * elements; ++i) {
      both.push_back(as[i / elements] * xs[i] + bs[i / elements] * zs[i]);
      one.push_back(as[i / elements] * xs[i]);
    }
    d.table.combine_samples({n, elements, a, x, b, z, y});
    d.table.combine_samples({n, elements, a, x, b, in_z, in_z});
    expect_close(y, both, 2e-7, "combine_samples");
    expect_same_bits(in_z, y, "combine_samples in place");
    y.poison();
    d.table.combine_samples({n, elements, a, x, nullptr, nullptr, y});
    expect_close(y, one, 2e-7, "combine_samples without z");
  }
}

TARGET_TEST(GatherRows, CopiesRowsInAnyOrder) {
  for (const auto [n, elements] : rows_cases()) {
    d.offset = kOffsets[elements % 2];
    const auto x = d.input(random_floats(n * elements, 1));
    std::vector<int64_t> rows{n - 1, 0, n / 2, n - 1};
    const auto count = static_cast<int64_t>(rows.size());
    const auto index = d.input(rows);
    auto y = d.output(count * elements);
    d.table.gather_rows({count, elements, n, x, index, y});
    const Floats from = x.floats(), to = y.floats();
    for (int64_t i = 0; i < count; ++i)
      for (int64_t e = 0; e < elements; ++e)
        ASSERT_EQ(to[i * elements + e], from[rows[i] * elements + e]) << i << ", " << e;
  }
}

TARGET_TEST(GatherRows, RowsOutsideAreNeverRead) {
  const auto x = d.input(random_floats(8, 1));
  for (const int64_t bad : {int64_t{-1}, int64_t{2}, int64_t{1} << 40}) {
    const auto rows = d.input(std::vector<int64_t>{1, bad});
    auto y = d.output(8);
    if (d.is("cpu")) {
      EXPECT_THROW(d.table.gather_rows({2, 4, 2, x, rows, y}), Error);
      continue;
    }
    d.table.gather_rows({2, 4, 2, x, rows, y});
    EXPECT_EQ(row(y.floats(), 2, 0), row(x.floats(), 2, 1));
    for (const float v : row(y.floats(), 2, 1)) EXPECT_TRUE(std::isnan(v)) << bad;
  }
}

TARGET_TEST(Elementwise, EmptyIsFineAndNullIsNot) {
  EXPECT_NO_THROW(d.table.silu({0, nullptr, nullptr}));
  EXPECT_NO_THROW(d.table.linear_combination({0, 1, nullptr, 1, nullptr, nullptr}));
  EXPECT_NO_THROW(d.table.combine_samples({0, 5, nullptr, nullptr, nullptr, nullptr, nullptr}));
  EXPECT_NO_THROW(d.table.gather_rows({0, 5, 0, nullptr, nullptr, nullptr}));
  EXPECT_THROW(d.table.gather_rows({1, 5, 1, nullptr, nullptr, nullptr}), Error);
  EXPECT_THROW(d.table.silu({4, nullptr, nullptr}), Error);
  EXPECT_THROW(d.table.silu({-1, nullptr, nullptr}), Error);
  EXPECT_THROW(d.table.silu_backward({4, nullptr, nullptr, nullptr}), Error);
  EXPECT_THROW(d.table.linear_combination({4, 1, nullptr, 1, nullptr, nullptr}), Error);
  EXPECT_THROW(d.table.combine_samples({2, 2, nullptr, nullptr, nullptr, nullptr, nullptr}), Error);
}

}  // namespace
}  // namespace diffscm::kernels
