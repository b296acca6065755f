// Group norm before pooling and pooling beside it, by one operator of target emu and cuda: both
// results and the gradient against double references.
#include "tests/kernels/support.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

struct Shape {
  int64_t n, h, w, c, groups;
  std::string name() const { return fmt::format("{}x{}x{}x{} in {}", n, h, w, c, groups); }
};

// Those of mnist-fast's classifier; odd sides, several slabs, groups that share a vector and groups
// of many, more vectors than a thread keeps, and the largest that is joined.
const Shape kShapes[] = {{2, 28, 28, 32, 32}, {3, 14, 14, 64, 32}, {3, 7, 7, 128, 32},
                         {2, 5, 4, 24, 3},    {1, 2, 3, 8, 1},     {2, 32, 32, 16, 8},
                         {1, 9, 6, 256, 1},   {1, 2, 1024, 16, 2}};

// The mean of each window of [n, h, w, c].
Doubles pooled(const Shape& s, const Doubles& x) {
  Doubles y;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < s.h / 2; ++p)
      for (int64_t q = 0; q < s.w / 2; ++q)
        for (int64_t c = 0; c < s.c; ++c) {
          const auto at = [&](int64_t i, int64_t j) {
            return x[((n * s.h + 2 * p + i) * s.w + 2 * q + j) * s.c + c];
          };
          y.push_back((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4);
        }
  return y;
}

// Its transpose.
Doubles unpooled(const Shape& s, const Doubles& dy) {
  Doubles dx(s.n * s.h * s.w * s.c);
  int64_t from = 0;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < s.h / 2; ++p)
      for (int64_t q = 0; q < s.w / 2; ++q)
        for (int64_t c = 0; c < s.c; ++c, ++from)
          for (int64_t k = 0; k < 4; ++k)
            dx[((n * s.h + 2 * p + k / 2) * s.w + 2 * q + k % 2) * s.c + c] = dy[from] / 4;
  return dx;
}

struct Arrays {
  Shape s;
  Array<const bf16> x, dy, add;
  Array<const float> gamma, beta;
  Array<bf16> y, pooled_x, dx;
  Array<float> mean, rstd, dgamma, dbeta;

  Arrays(const Device& d, const Shape& shape)
      : s(shape),
        x(d.input<bf16>(random_floats(s.n * s.h * s.w * s.c, 1))),
        dy(d.input<bf16>(random_floats(halved(), 2))),
        add(d.input<bf16>(random_floats(halved(), 3))),
        gamma(d.input(random_floats(s.c, 4, 0.5f, 1))),
        beta(d.input(random_floats(s.c, 5, 0.5f))),
        y(d.output<bf16>(halved())),
        pooled_x(d.output<bf16>(halved())),
        dx(d.output<bf16>(s.n * s.h * s.w * s.c)),
        mean(d.output(s.n * s.groups)),
        rstd(d.output(s.n * s.groups)),
        dgamma(d.output(s.c)),
        dbeta(d.output(s.c)) {}

  int64_t halved() const { return s.n * (s.h / 2) * (s.w / 2) * s.c; }
  PooledNormArgs forward() {
    return {{.n = s.n,
             .hw = s.h * s.w,
             .c0 = s.c,
             .c1 = 0,
             .groups = s.groups,
             .eps = 1e-5f,
             .silu = true,
             .dropout = {},
             .x0 = x,
             .x1 = nullptr,
             .gamma = gamma,
             .beta = beta,
             .scale_shift = nullptr,
             .y = y,
             .mean = mean,
             .rstd = rstd},
            s.h,
            s.w,
            pooled_x};
  }
  PooledNormBackwardArgs backward(bool adds) {
    return {{.forward = forward().norm,
             .dy = dy,
             .dx0 = dx,
             .dx1 = nullptr,
             .dgamma = dgamma,
             .dbeta = dbeta,
             .dscale_shift = nullptr,
             .add0 = adds ? add.data() : nullptr},
            s.h,
            s.w};
  }
  reference::GroupNorm in_double() {
    return reference::group_norm_of(forward().norm, true, x.doubles(), {}, gamma.doubles(),
                                    beta.doubles(), {});
  }
};

TARGET_TEST_ON("emu cuda", PooledGroupNorm, MatchesReference) {
  for (const Shape& s : kShapes) {
    Arrays a(d, s);
    d.table.group_norm_pooled_bf16(a.forward());
    const reference::GroupNormResult r = reference::group_norm(a.in_double());
    expect_close(a.y, pooled(s, r.y), 3e-6, s.name() + " y");
    expect_close(a.pooled_x, pooled(s, a.x.doubles()), 3e-6, s.name() + " x");
    expect_close(a.mean, r.mean, 3e-6, s.name() + " mean");
    expect_close(a.rstd, r.rstd, 3e-6, s.name() + " rstd");
  }
}

TARGET_TEST_ON("emu cuda", PooledGroupNorm, BackwardMatchesReference) {
  for (const Shape& s : kShapes) {
    Arrays a(d, s);
    d.table.group_norm_pooled_bf16(a.forward());
    const auto g = reference::group_norm_backward(a.in_double(), unpooled(s, a.dy.doubles()));
    d.table.group_norm_pooled_backward_bf16(a.backward(false));
    expect_close(a.dx, g.dx, 6e-6, s.name() + " dx");
    expect_close(a.dgamma, g.dgamma, 6e-6, s.name() + " dgamma");
    expect_close(a.dbeta, g.dbeta, 6e-6, s.name() + " dbeta");

    Doubles sum = unpooled(s, a.add.doubles());
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += g.dx[i];
    d.table.group_norm_pooled_backward_bf16(a.backward(true));
    expect_close(a.dx, sum, 6e-6, s.name() + " dx and what else flows in");
  }
}

// The pooled image has the bits of avg_pool.
TARGET_TEST_ON("emu cuda", PooledGroupNorm, PoolsAsThePoolDoes) {
  for (const Shape& s : kShapes) {
    Arrays a(d, s);
    d.table.group_norm_pooled_bf16(a.forward());
    auto apart = d.output<bf16>(a.halved());
    d.table.avg_pool_bf16({s.n, s.h, s.w, s.c, a.x, apart});
    expect_same_bits(a.pooled_x, apart, s.name());
  }
}

TARGET_TEST_ON("emu cuda", PooledGroupNorm, BitsDoNotDependOnBatch) {
  const Shape s{3, 14, 14, 64, 32};
  Arrays a(d, s);
  d.table.group_norm_pooled_bf16(a.forward());
  d.table.group_norm_pooled_backward_bf16(a.backward(true));
  const Floats y = a.y.floats(), dx = a.dx.floats();
  PooledNormArgs last = a.forward();
  last.norm.n = 1;
  last.norm.x0 += 2 * s.h * s.w * s.c;
  d.table.group_norm_pooled_bf16(last);
  PooledNormBackwardArgs back = a.backward(true);
  back.norm.forward = last.norm;
  back.norm.dy += a.halved() / 3 * 2;
  back.norm.add0 += a.halved() / 3 * 2;
  d.table.group_norm_pooled_backward_bf16(back);
  expect_same_bits(row(a.y.floats(), s.n, 0), row(y, s.n, 2), "y");
  expect_same_bits(row(a.dx.floats(), s.n, 0), row(dx, s.n, 2), "dx");
}

TARGET_TEST_ON("emu cuda", PooledGroupNorm, RejectsBadArguments) {
  const auto with = [&](const Shape& s, auto change) {
    Arrays a(d, s);
    PooledNormArgs args = a.forward();
    change(args);
    d.table.group_norm_pooled_bf16(args);
  };
  const Shape s{1, 4, 4, 16, 2};
  EXPECT_NO_THROW(with(s, [](PooledNormArgs&) {}));
  EXPECT_NO_THROW(with(s, [](PooledNormArgs& a) { a.norm.n = 0; }));
  EXPECT_THROW(with(s, [](PooledNormArgs& a) { a.h = 2; }), Error);
  EXPECT_THROW(with(s, [](PooledNormArgs& a) { a.h = 16, a.w = 1; }), Error);
  EXPECT_THROW(with(s, [](PooledNormArgs& a) { a.norm.silu = false; }), Error);
  EXPECT_THROW(with(s, [](PooledNormArgs& a) { a.norm.dropout.rate = 0.5f; }), Error);
  EXPECT_THROW(with(s, [](PooledNormArgs& a) { a.pooled_x = nullptr; }), Error);
  EXPECT_THROW(with(s, [](PooledNormArgs& a) { a.norm.y = nullptr; }), Error);
  EXPECT_THROW(with({1, 64, 64, 16, 2}, [](PooledNormArgs&) {}), Error);
  EXPECT_THROW(with({1, 4, 4, 12, 2}, [](PooledNormArgs&) {}), Error);
  Arrays a(d, s);
  PooledNormBackwardArgs args = a.backward(false);
  args.norm.dy = nullptr;
  EXPECT_THROW(d.table.group_norm_pooled_backward_bf16(args), Error);
}

}  // namespace
}  // namespace diffscm::kernels
