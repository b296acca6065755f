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

TYPED_TARGET_TEST(AvgPool, MatchesReference) {
  for (const ImageCase& k : pool_cases()) {
    d.offset = k.c % 2;
    const auto [n, h, w, c] = k;
    const int64_t pooled = n * (h / 2) * (w / 2) * c;
    const auto x = d.input<T>(random_floats(n * h * w * c, 1));
    const auto dy = d.input<T>(random_floats(pooled, 2));
    auto y = d.output<T>(pooled), dx = d.output<T>(n * h * w * c);
    d.table.of(BasicAvgPoolArgs<T>{})({n, h, w, c, x, y});
    d.table.of(BasicAvgPoolBackwardArgs<T>{})({n, h, w, c, dy, dx});
    expect_close(y, reference::avg_pool(n, h, w, c, x.doubles()), 3e-7, name_of(k));
    expect_close(dx, reference::avg_pool_backward(n, h, w, c, dy.doubles()), 1e-7, name_of(k));
  }
}

TEST(AvgPool, ReferenceGradientIsTheDerivative) {
  const auto [n, h, w, c] = ImageCase{2, 5, 4, 3};
  const Doubles x = to_double(random_floats(n * h * w * c, 1));
  const Doubles dy = to_double(random_floats(n * 2 * 2 * c, 2));
  check_gradient([&](const Doubles& v) { return dot(reference::avg_pool(2, 5, 4, 3, v), dy); }, x,
                 reference::avg_pool_backward(n, h, w, c, dy), "avg_pool", 200);
}

TARGET_TEST(MaxPool, MatchesReference) {
  for (const ImageCase& k : pool_cases()) {
    d.offset = k.c % 2;
    const auto [n, h, w, c] = k;
    const int64_t pooled = n * (h / 2) * (w / 2) * c;
    Floats values = random_floats(n * h * w * c, 1);
    for (float& v : values) v = std::round(2 * v);  // many ties: the first must win
    const auto x = d.input(values), dy = d.input(random_floats(pooled, 2));
    auto y = d.output(pooled), dx = d.output(n * h * w * c);
    d.table.max_pool({n, h, w, c, x, y});
    d.table.max_pool_backward({n, h, w, c, x, dy, dx});
    const auto expected = reference::max_pool(n, h, w, c, x.doubles());
    Doubles gradient(values.size());
    for (size_t i = 0; i < expected.from.size(); ++i) gradient[expected.from[i]] = dy.doubles()[i];
    expect_close(y, expected.y, 0, name_of(k));
    expect_close(dx, gradient, 0, name_of(k));
  }
}

TARGET_TEST(MaxPool, ANanWins) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (size_t at = 0; at < 4; ++at) {
    Floats values{3, 1, 2, -1};
    values[at] = kNan;
    const auto x = d.input(values), dy = d.input(Floats{5});
    auto y = d.output(1), dx = d.output(4);
    d.table.max_pool({1, 2, 2, 1, x, y});
    d.table.max_pool_backward({1, 2, 2, 1, x, dy, dx});
    EXPECT_TRUE(std::isnan(y.floats()[0])) << at;
    Floats expected(4);
    expected[at] = 5;
    EXPECT_EQ(dx.floats(), expected) << at;
  }
}

TARGET_TEST(MaxPool, RejectsBadArguments) {
  const auto x = d.input(Floats(64));
  auto y = d.output(64);
  EXPECT_NO_THROW(d.table.max_pool({0, 4, 4, 4, nullptr, nullptr}));
  EXPECT_THROW(d.table.max_pool({1, 0, 4, 4, x, y}), Error);
  EXPECT_THROW(d.table.max_pool({1, 4, 4, 4, nullptr, y}), Error);
  EXPECT_THROW(d.table.max_pool_backward({1, 4, 4, 4, nullptr, x, y}), Error);
  EXPECT_THROW(d.table.max_pool_backward({1, 4, 4, 4, x, x, nullptr}), Error);
}

TYPED_TARGET_TEST(PoolTokens, MatchesReference) {
  const auto& forward = d.table.of(BasicPoolTokensArgs<T>{});
  const auto& backward = d.table.of(BasicPoolTokensBackwardArgs<T>{});
  for (const ImageCase& k : pool_cases()) {
    d.offset = k.c % 2;
    const int64_t n = k.n, hw = k.h * k.w, c = k.c;
    const auto x = d.input<T>(random_floats(n * hw * c, 1));
    const auto position = d.input(random_floats((hw + 1) * c, 2));
    const auto dy = d.input<T>(random_floats(n * (hw + 1) * c, 3));
    auto y = d.output<T>(n * (hw + 1) * c), dx = d.output<T>(n * hw * c);
    auto dposition = d.output((hw + 1) * c);
    forward({n, hw, c, x, position, y});
    backward({n, hw, c, dy, dx, dposition});
    expect_close(y, reference::pool_tokens(n, hw, c, x.doubles(), position.doubles()), 1e-6,
                 name_of(k));
    const auto expected = reference::pool_tokens_backward(n, hw, c, dy.doubles());
    expect_close(dx, expected.dx, 3e-7, name_of(k) + " dx");
    expect_close(dposition, expected.dposition, 3e-7, name_of(k) + " dposition");

    auto dx_alone = d.output<T>(n * hw * c);
    backward({n, hw, c, dy, dx_alone, nullptr});
    expect_same_bits(dx_alone, dx, "dx alone");
    auto dposition_alone = d.output((hw + 1) * c);
    backward({n, hw, c, dy, nullptr, dposition_alone});
    expect_same_bits(dposition_alone, dposition, "dposition alone");
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

TARGET_TEST(Pool, IsReproducible) {
  const int64_t n = 5, h = 15, w = 14, c = 48;
  const auto x = d.input(random_floats(n * h * w * c, 1));
  const auto position = d.input(random_floats((h * w + 1) * c, 2));
  expect_reproducible(
      d,
      [&]() -> std::vector<Floats> {
        auto y = d.output(n * (h / 2) * (w / 2) * c), tokens = d.output(n * (h * w + 1) * c);
        auto dx = d.output(n * h * w * c), dposition = d.output((h * w + 1) * c);
        d.table.avg_pool({n, h, w, c, x, y});
        d.table.pool_tokens({n, h * w, c, x, position, tokens});
        d.table.pool_tokens_backward({n, h * w, c, tokens, dx, dposition});
        return {y.floats(), tokens.floats(), dx.floats(), dposition.floats()};
      },
      "pool");
}

TARGET_TEST(Pool, RejectsBadArguments) {
  const auto x = d.input(Floats(64));
  auto y = d.output(64);
  EXPECT_NO_THROW(d.table.avg_pool({0, 4, 4, 4, nullptr, nullptr}));
  EXPECT_THROW(d.table.avg_pool({1, 0, 4, 4, x, y}), Error);
  EXPECT_THROW(d.table.avg_pool({1, 4, 4, 4, nullptr, y}), Error);
  EXPECT_THROW(d.table.avg_pool_backward({1, 4, 4, 4, x, nullptr}), Error);
  EXPECT_THROW(d.table.pool_tokens({1, 0, 4, x, x, y}), Error);
  EXPECT_THROW(d.table.pool_tokens({1, 4, 4, x, nullptr, y}), Error);
  EXPECT_THROW(d.table.pool_tokens_backward({1, 4, 4, nullptr, y, nullptr}), Error);
}

}  // namespace
}  // namespace diffscm::kernels
