// Pooling and pool tokens against the double reference, gradients against central differences.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

std::string name_of(const ImageCase& k) {
  return fmt::format("[{}, {}, {}, {}]", k.n, k.h, k.w, k.c);
}

TEST(AvgPool, MatchesReference) {
  for (const OperatorTable* table : tables()) {
    for (const ImageCase& k : pool_cases()) {
      const auto [n, h, w, c] = k;
      const Floats x = random_floats(n * h * w * c, 1);
      const Floats dy = random_floats(n * (h / 2) * (w / 2) * c, 2);
      Floats y = poisoned(static_cast<int64_t>(dy.size())), dx = poisoned(n * h * w * c);
      table->avg_pool({n, h, w, c, x.data(), y.data()});
      table->avg_pool_backward({n, h, w, c, dy.data(), dx.data()});
      expect_close(y, reference::avg_pool(n, h, w, c, to_double(x)), 3e-7, name_of(k));
      expect_close(dx, reference::avg_pool_backward(n, h, w, c, to_double(dy)), 1e-7, name_of(k));
    }
  }
}

TEST(AvgPool, ReferenceGradientIsTheDerivative) {
  const auto [n, h, w, c] = ImageCase{2, 5, 4, 3};
  const Doubles x = to_double(random_floats(n * h * w * c, 1));
  const Doubles dy = to_double(random_floats(n * 2 * 2 * c, 2));
  check_gradient([&](const Doubles& v) { return dot(reference::avg_pool(2, 5, 4, 3, v), dy); }, x,
                 reference::avg_pool_backward(n, h, w, c, dy), "avg_pool", 200);
}

TEST(PoolTokens, MatchesReference) {
  for (const OperatorTable* table : tables()) {
    for (const ImageCase& k : pool_cases()) {
      const int64_t n = k.n, hw = k.h * k.w, c = k.c;
      const Floats x = random_floats(n * hw * c, 1), position = random_floats((hw + 1) * c, 2);
      const Floats dy = random_floats(n * (hw + 1) * c, 3);
      Floats y = poisoned(n * (hw + 1) * c), dx = poisoned(n * hw * c);
      Floats dposition = poisoned((hw + 1) * c);
      table->pool_tokens({n, hw, c, x.data(), position.data(), y.data()});
      table->pool_tokens_backward({n, hw, c, dy.data(), dx.data(), dposition.data()});
      expect_close(y, reference::pool_tokens(n, hw, c, to_double(x), to_double(position)), 1e-6,
                   name_of(k));
      const auto expected = reference::pool_tokens_backward(n, hw, c, to_double(dy));
      expect_close(dx, expected.dx, 3e-7, name_of(k) + " dx");
      expect_close(dposition, expected.dposition, 3e-7, name_of(k) + " dposition");

      Floats alone = poisoned(n * hw * c);
      table->pool_tokens_backward({n, hw, c, dy.data(), alone.data(), nullptr});
      expect_same_bits(alone, dx, "dx alone");
      alone = poisoned((hw + 1) * c);
      table->pool_tokens_backward({n, hw, c, dy.data(), nullptr, alone.data()});
      expect_same_bits(alone, dposition, "dposition alone");
    }
  }
}

TEST(PoolTokens, ReferenceGradientIsTheDerivative) {
  const int64_t n = 2, hw = 4, c = 3;
  const Doubles x = to_double(random_floats(n * hw * c, 1));
  const Doubles position = to_double(random_floats((hw + 1) * c, 2));
  const Doubles dy = to_double(random_floats(n * (hw + 1) * c, 3));
  const auto g = reference::pool_tokens_backward(n, hw, c, dy);
  check_gradient(
      [&](const Doubles& v) { return dot(reference::pool_tokens(n, hw, c, v, position), dy); }, x,
      g.dx, "dx");
  check_gradient([&](const Doubles& v) { return dot(reference::pool_tokens(n, hw, c, x, v), dy); },
                 position, g.dposition, "dposition");
}

TEST(Pool, BitsDoNotDependOnThreads) {
  for (const OperatorTable* table : tables()) {
    const int64_t n = 5, h = 15, w = 14, c = 48;
    const Floats x = random_floats(n * h * w * c, 1), position = random_floats((h * w + 1) * c, 2);
    expect_thread_independent(
        [&]() -> std::vector<Floats> {
          Floats y = poisoned(n * (h / 2) * (w / 2) * c), tokens = poisoned(n * (h * w + 1) * c);
          Floats dx = poisoned(n * h * w * c), dposition = poisoned((h * w + 1) * c);
          table->avg_pool({n, h, w, c, x.data(), y.data()});
          table->pool_tokens({n, h * w, c, x.data(), position.data(), tokens.data()});
          table->pool_tokens_backward({n, h * w, c, tokens.data(), dx.data(), dposition.data()});
          return {y, tokens, dx, dposition};
        },
        "pool");
  }
}

TEST(Pool, RejectsBadArguments) {
  for (const OperatorTable* table : tables()) {
    Floats x(64), y(64);
    EXPECT_NO_THROW(table->avg_pool({0, 4, 4, 4, nullptr, nullptr}));
    EXPECT_THROW(table->avg_pool({1, 0, 4, 4, x.data(), y.data()}), Error);
    EXPECT_THROW(table->avg_pool({1, 4, 4, 4, nullptr, y.data()}), Error);
    EXPECT_THROW(table->avg_pool_backward({1, 4, 4, 4, x.data(), nullptr}), Error);
    EXPECT_THROW(table->pool_tokens({1, 0, 4, x.data(), x.data(), y.data()}), Error);
    EXPECT_THROW(table->pool_tokens({1, 4, 4, x.data(), nullptr, y.data()}), Error);
    EXPECT_THROW(table->pool_tokens_backward({1, 4, 4, nullptr, y.data(), nullptr}), Error);
  }
}

}  // namespace
}  // namespace diffscm::kernels
