// Group norm against the double reference, its gradients against central differences, and the
// promises of its contract: every element written, null outputs skipped, bits independent of
// threads and batch.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

template <class T>
struct Arrays {
  Array<const T> x0, x1, dy;
  Array<const float> gamma, beta, scale_shift;
  BasicGroupNormArgs<T> args;

  Arrays(const Device& d, const GroupNormCase& k)
      : x0(d.input<T>(random_floats(k.n * k.hw * k.c0, 1, 1, k.offset))),
        x1(d.input<T>(random_floats(k.n * k.hw * k.c1, 2, 2, k.offset))),
        dy(d.input<T>(random_floats(k.size(), 6))),
        gamma(d.input(random_floats(k.c(), 3, 0.5f, 1))),
        beta(d.input(random_floats(k.c(), 4, 0.5f))),
        scale_shift(d.input(k.scale_shift ? random_floats(k.n * 2 * k.c(), 5, 0.5f) : Floats{})) {
    args = {.n = k.n,
            .hw = k.hw,
            .c0 = k.c0,
            .c1 = k.c1,
            .groups = k.groups,
            .eps = 1e-5f,
            .silu = k.silu,
            .dropout = {k.dropout, {77, Purpose::dropout, 3}, 5},
            .x0 = x0,
            .x1 = x1,
            .gamma = gamma,
            .beta = beta,
            .scale_shift = scale_shift,
            .y = nullptr,
            .mean = nullptr,
            .rstd = nullptr};
  }

  reference::GroupNorm in_double() const {
    const int64_t c = args.c0 + args.c1;
    reference::GroupNorm s =
        reference::group_norm_of(args, args.silu, x0.doubles(), x1.doubles(), gamma.doubles(),
                                 beta.doubles(), scale_shift.doubles());
    for (int64_t n = 0; n < args.n && args.dropout.rate > 0; ++n)
      for (int64_t e = 0; e < args.hw * c; ++e)
        s.keep.push_back(reference::dropout_factor(args.dropout, args.dropout.first_sample + n, e));
    return s;
  }
};

template <class T>
struct Forward {
  Array<T> y;
  Array<float> mean, rstd;
};
template <class T>
Forward<T> run(const Device& d, BasicGroupNormArgs<T> args) {
  Forward<T> r{d.output<T>(args.n * args.hw * (args.c0 + args.c1)), d.output(args.n * args.groups),
               d.output(args.n * args.groups)};
  args.y = r.y;
  args.mean = r.mean;
  args.rstd = r.rstd;
  d.table.of(args)(args);
  return r;
}

template <class T>
struct Backward {
  Array<T> dx0, dx1;
  Array<float> dgamma, dbeta, dscale_shift;
};
template <class T>
Backward<T> run_backward(const Device& d, BasicGroupNormArgs<T> args, const Forward<T>& forward,
                         const T* dy, const T* add0 = nullptr, const T* add1 = nullptr) {
  const int64_t c = args.c0 + args.c1;
  args.mean = forward.mean;
  args.rstd = forward.rstd;
  Backward<T> r{d.output<T>(args.n * args.hw * args.c0), d.output<T>(args.n * args.hw * args.c1),
                d.output(c), d.output(c), d.output(args.scale_shift ? args.n * 2 * c : 0)};
  d.table.of(BasicGroupNormBackwardArgs<T>{})({.forward = args,
                                               .dy = dy,
                                               .dx0 = r.dx0,
                                               .dx1 = r.dx1,
                                               .dgamma = r.dgamma,
                                               .dbeta = r.dbeta,
                                               .dscale_shift = r.dscale_shift,
                                               .add0 = add0,
                                               .add1 = add1});
  return r;
}

// Channels [begin, end) of [rows, c].
Doubles channels(const Doubles& x, int64_t c, int64_t begin, int64_t end) {
  Doubles part;
  for (size_t p = 0; p < x.size(); p += static_cast<size_t>(c))
    part.insert(part.end(), x.begin() + p + begin, x.begin() + p + end);
  return part;
}

template <class T>
void check(const Device& d, const GroupNormCase& k) {
  const Arrays<T> a(d, k);
  const Forward<T> actual = run(d, a.args);
  const reference::GroupNormResult expected = reference::group_norm(a.in_double());
  const std::string name = k.name;
  expect_close(actual.y, expected.y, k.tolerance, name + " y");
  expect_close(actual.mean, expected.mean, k.tolerance, name + " mean");
  expect_close(actual.rstd, expected.rstd, k.tolerance, name + " rstd");
}

template <class T>
void check_backward(const Device& d, const GroupNormCase& k) {
  const Arrays<T> a(d, k);
  const Forward<T> forward = run(d, a.args);
  const Backward<T> actual = run_backward<T>(d, a.args, forward, a.dy);
  const reference::GroupNormGradients expected =
      reference::group_norm_backward(a.in_double(), a.dy.doubles());
  const std::string name = k.name;
  const double tolerance = 2 * k.tolerance;
  expect_close(actual.dx0, channels(expected.dx, k.c(), 0, k.c0), tolerance, name + " dx0");
  expect_close(actual.dx1, channels(expected.dx, k.c(), k.c0, k.c()), tolerance, name + " dx1");
  expect_close(actual.dgamma, expected.dgamma, tolerance, name + " dgamma");
  expect_close(actual.dbeta, expected.dbeta, tolerance, name + " dbeta");
  if (k.scale_shift)
    expect_close(actual.dscale_shift, expected.dscale_shift, tolerance, name + " dscale_shift");
}

// Gradients from elsewhere are added; everything else stays as it is, to the bit.
template <class T>
void check_addends(const Device& d, const GroupNormCase& k) {
  const Arrays<T> a(d, k);
  const Forward<T> forward = run(d, a.args);
  const auto add0 = d.input<T>(random_floats(k.n * k.hw * k.c0, 8)),
             add1 = d.input<T>(random_floats(k.n * k.hw * k.c1, 9));
  const Backward<T> plain = run_backward<T>(d, a.args, forward, a.dy),
                    first = run_backward<T>(d, a.args, forward, a.dy, add0),
                    both = run_backward<T>(d, a.args, forward, a.dy, add0, add1);
  const auto expected = reference::group_norm_backward(a.in_double(), a.dy.doubles()).dx;
  const auto sum = [](Doubles x, const Doubles& y) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
    return x;
  };
  const std::string name = k.name;
  const Doubles dx0 = sum(channels(expected, k.c(), 0, k.c0), add0.doubles()),
                dx1 = sum(channels(expected, k.c(), k.c0, k.c()), add1.doubles());
  expect_close(first.dx0, dx0, 2 * k.tolerance, name + " dx0 + add0");
  expect_same_bits(first.dx1, plain.dx1, name + " dx1 alone");
  expect_same_bits(both.dx0, first.dx0, name + " dx0 + add0");
  expect_close(both.dx1, dx1, 2 * k.tolerance, name + " dx1 + add1");
  expect_same_bits(both.dgamma, plain.dgamma, name + " dgamma");
}

TYPED_TARGET_TEST(GroupNorm, BackwardAddsOtherGradients) {
  for (const GroupNormCase& k : group_norm_cases()) {
    if (k.work() > 3e4) continue;
    for (const int64_t offset : {0, 1}) {
      d.offset = offset;
      check_addends<T>(d, k);
    }
  }
}

TYPED_TARGET_TEST(GroupNorm, MatchesReference) {
  for (const GroupNormCase& k : d.affordable(group_norm_cases())) check<T>(d, k);
}

TYPED_TARGET_TEST(GroupNorm, BackwardMatchesReference) {
  for (const GroupNormCase& k : d.affordable(group_norm_cases())) check_backward<T>(d, k);
}

TYPED_TARGET_TEST(GroupNorm, AnyAlignment) {
  d.offset = 1;
  for (const GroupNormCase& k : group_norm_cases()) {
    if (k.work() > 3e4) continue;
    check<T>(d, k);
    check_backward<T>(d, k);
  }
}

TEST(GroupNorm, ReferenceGradientIsTheDerivative) {
  const Device d(kTargets[0]);
  for (const GroupNormCase& k : group_norm_cases()) {
    if (k.size() > 5000 || k.offset != 0) continue;
    const Arrays<float> a(d, k);
    const reference::GroupNorm s = a.in_double();
    const Doubles dy = a.dy.doubles();
    const reference::GroupNormGradients g = reference::group_norm_backward(s, dy);
    const auto loss_with = [&](Doubles reference::GroupNorm::*member) {
      return [&, member](const Doubles& value) {
        reference::GroupNorm changed = s;
        changed.*member = value;
        return dot(reference::group_norm(changed).y, dy);
      };
    };
    const std::string name = k.name;
    check_gradient(loss_with(&reference::GroupNorm::x), s.x, g.dx, name + " dx");
    check_gradient(loss_with(&reference::GroupNorm::gamma), s.gamma, g.dgamma, name + " dgamma");
    check_gradient(loss_with(&reference::GroupNorm::beta), s.beta, g.dbeta, name + " dbeta");
    if (k.scale_shift)
      check_gradient(loss_with(&reference::GroupNorm::scale_shift), s.scale_shift, g.dscale_shift,
                     name + " dscale_shift");
  }
}

TYPED_TARGET_TEST(GroupNorm, IsReproducible) {
  for (const GroupNormCase& k : d.affordable(group_norm_cases(), 2)) {
    const Arrays<T> a(d, k);
    expect_reproducible(
        d,
        [&]() -> std::vector<Floats> {
          const Forward<T> f = run(d, a.args);
          const Backward<T> b = run_backward<T>(d, a.args, f, a.dy);
          return {f.y.floats(),   f.mean.floats(),   f.rstd.floats(),  b.dx0.floats(),
                  b.dx1.floats(), b.dgamma.floats(), b.dbeta.floats(), b.dscale_shift.floats()};
        },
        k.name);
  }
}

TYPED_TARGET_TEST(GroupNorm, BitsDoNotDependOnBatch) {
  for (const GroupNormCase& k : d.affordable(group_norm_cases(), 2)) {
    const Arrays<T> a(d, k);
    const Forward<T> all = run(d, a.args);
    const Backward<T> all_back = run_backward<T>(d, a.args, all, a.dy);
    for (int64_t n = 0; n < std::min<int64_t>(k.n, 3); ++n) {
      BasicGroupNormArgs<T> one = a.args;
      one.n = 1;
      one.x0 += n * k.hw * k.c0;
      if (one.x1) one.x1 += n * k.hw * k.c1;
      if (one.scale_shift) one.scale_shift += n * 2 * k.c();
      one.dropout.first_sample += n;
      const Forward<T> alone = run(d, one);
      expect_same_bits(alone.y.floats(), row(all.y.floats(), k.n, n), k.name);
      const Backward<T> back = run_backward<T>(d, one, alone, a.dy + n * k.hw * k.c());
      expect_same_bits(back.dx0.floats(), row(all_back.dx0.floats(), k.n, n), k.name);
    }
  }
}

TYPED_TARGET_TEST(GroupNorm, NullOutputsAreSkipped) {
  const GroupNormCase k{"", 2, 9, 10, 6, 4, true, true};
  const Arrays<T> a(d, k);
  const Forward<T> f = run(d, a.args);
  const Backward<T> all = run_backward<T>(d, a.args, f, a.dy);
  const auto& backward = d.table.of(BasicGroupNormBackwardArgs<T>{});
  BasicGroupNormBackwardArgs<T> args{};
  args.forward = a.args;
  args.forward.mean = f.mean;
  args.forward.rstd = f.rstd;
  args.dy = a.dy;
  auto dx1 = d.output<T>(k.n * k.hw * k.c1);
  args.dx1 = dx1;
  backward(args);
  expect_same_bits(dx1, all.dx1, "dx1 alone");
  auto dgamma = d.output(k.c());
  args.dx1 = nullptr;
  args.dgamma = dgamma;
  backward(args);
  expect_same_bits(dgamma, all.dgamma, "dgamma alone");
}

TYPED_TARGET_TEST(GroupNorm, ConstantInputIsFinite) {
  Arrays<T> a(d, GroupNormCase{"", 1, 49, 32, 0, 32, false, false});
  const auto x = d.input<T>(Floats(49 * 32, 3.0f));
  a.args.x0 = x;
  const Forward<T> f = run(d, a.args);
  const Floats y = f.y.floats(), beta = a.beta.floats();
  for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], beta[i % 32], 1e-3 + 2 * kRounding<T>);
  EXPECT_NEAR(f.rstd.floats()[0], 1 / std::sqrt(1e-5), 1e-2);
}

TEST(GroupNorm, DropoutKeepsTheRightShare) {
  const Dropout dropout{0.25f, {1, Purpose::dropout, 0}, 0};
  double kept = 0;
  const int64_t n = 100000;
  for (int64_t e = 0; e < n; ++e) kept += reference::dropout_factor(dropout, 9, e) > 0;
  EXPECT_NEAR(kept / n, 0.75, 0.005);  // 3.6 standard deviations
}

// A recorded training step reads the step of its dropout from memory; the scalar is then ignored.
TYPED_TARGET_TEST(GroupNorm, DropoutStepMayLieInMemory) {
  Arrays<T> a(d, GroupNormCase{"", 3, 49, 64, 0, 32, true, true, 0.1f});
  const Forward<T> scalar = run(d, a.args);
  const Backward<T> scalar_gradients = run_backward<T>(d, a.args, scalar, a.dy);
  const auto step = d.input(std::vector<uint32_t>{a.args.dropout.key.step});
  ++a.args.dropout.key.step;
  EXPECT_NE(run(d, a.args).y.floats(), scalar.y.floats());
  a.args.dropout.key.step_at = step;
  const Forward<T> memory = run(d, a.args);
  expect_same_bits(memory.y, scalar.y, "y");
  const Backward<T> gradients = run_backward<T>(d, a.args, memory, a.dy);
  expect_same_bits(gradients.dx0, scalar_gradients.dx0, "dx0");
  expect_same_bits(gradients.dgamma, scalar_gradients.dgamma, "dgamma");
}

TYPED_TARGET_TEST(GroupNorm, NanIsNotHidden) {
  Arrays<T> a(d, GroupNormCase{"", 2, 9, 32, 0, 8, true, false});
  Floats values = a.x0.floats();
  values[4] = std::numeric_limits<float>::quiet_NaN();
  const auto x = d.input<T>(values);
  a.args.x0 = x;
  const Forward<T> f = run(d, a.args);
  const Floats y = f.y.floats();
  EXPECT_TRUE(std::isnan(y[4]) && std::isnan(f.mean.floats()[1]));
  EXPECT_FALSE(std::isnan(y[9 * 32 + 4]));  // the other sample is untouched
}

TYPED_TARGET_TEST(GroupNorm, RejectsBadArguments) {
  const GroupNormCase k{"", 1, 4, 8, 0, 4, true, false};
  const Arrays<T> a(d, k);
  using Args = BasicGroupNormArgs<T>;
  const auto with = [&](auto change) {
    auto y = d.output<T>(k.size());
    auto mean = d.output(8), rstd = d.output(8);
    Args args = a.args;
    args.y = y;
    args.mean = mean;
    args.rstd = rstd;
    change(args);
    d.table.of(args)(args);
  };
  EXPECT_NO_THROW(with([](Args&) {}));
  EXPECT_NO_THROW(with([](Args& g) { g.n = 0; }));
  EXPECT_THROW(with([](Args& g) { g.groups = 3; }), Error);
  EXPECT_THROW(with([](Args& g) { g.groups = 0; }), Error);
  EXPECT_THROW(with([](Args& g) { g.hw = 0; }), Error);
  EXPECT_THROW(with([](Args& g) { g.c1 = 4; }), Error);
  EXPECT_THROW(with([](Args& g) { g.dropout.rate = 1; }), Error);
  EXPECT_THROW(with([](Args& g) { g.gamma = nullptr; }), Error);
  EXPECT_THROW(with([](Args& g) { g.y = nullptr; }), Error);
  EXPECT_THROW(with([](Args& g) { g.n = -1; }), Error);
}

}  // namespace
}  // namespace diffscm::kernels
