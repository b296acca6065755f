// Group norm against the double reference, its gradients against central differences, and the
// promises of its contract: every element written, null outputs skipped, bits independent of
// threads and batch.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

struct Arrays {
  Floats x0, x1, gamma, beta, scale_shift, dy;
  GroupNormArgs args;

  explicit Arrays(const GroupNormCase& k) {
    x0 = random_floats(k.n * k.hw * k.c0, 1, 1, k.offset);
    x1 = random_floats(k.n * k.hw * k.c1, 2, 2, k.offset);
    gamma = random_floats(k.c(), 3, 0.5f, 1);
    beta = random_floats(k.c(), 4, 0.5f);
    if (k.scale_shift) scale_shift = random_floats(k.n * 2 * k.c(), 5, 0.5f);
    dy = random_floats(k.size(), 6);
    args = {.n = k.n,
            .hw = k.hw,
            .c0 = k.c0,
            .c1 = k.c1,
            .groups = k.groups,
            .eps = 1e-5f,
            .silu = k.silu,
            .dropout = {k.dropout, {77, Purpose::dropout, 3}, 5},
            .x0 = x0.data(),
            .x1 = data_or_null(x1),
            .gamma = gamma.data(),
            .beta = beta.data(),
            .scale_shift = data_or_null(scale_shift),
            .y = nullptr,
            .mean = nullptr,
            .rstd = nullptr};
  }

  reference::GroupNorm in_double() const {
    const int64_t c = args.c0 + args.c1;
    reference::GroupNorm s{args.n,
                           args.hw,
                           c,
                           args.groups,
                           args.eps,
                           args.silu,
                           {},
                           to_double(gamma),
                           to_double(beta),
                           to_double(scale_shift),
                           {}};
    for (int64_t p = 0; p < args.n * args.hw; ++p) {
      for (int64_t i = 0; i < args.c0; ++i) s.x.push_back(x0[p * args.c0 + i]);
      for (int64_t i = 0; i < args.c1; ++i) s.x.push_back(x1[p * args.c1 + i]);
    }
    for (int64_t n = 0; n < args.n && args.dropout.rate > 0; ++n)
      for (int64_t e = 0; e < args.hw * c; ++e)
        s.keep.push_back(reference::dropout_factor(args.dropout, args.dropout.first_sample + n, e));
    return s;
  }
};

struct Forward {
  Floats y, mean, rstd;
};
Forward run(const OperatorTable& table, GroupNormArgs args) {
  Forward r{poisoned(args.n * args.hw * (args.c0 + args.c1)), poisoned(args.n * args.groups),
            poisoned(args.n * args.groups)};
  args.y = r.y.data();
  args.mean = r.mean.data();
  args.rstd = r.rstd.data();
  table.group_norm(args);
  return r;
}

struct Backward {
  Floats dx0, dx1, dgamma, dbeta, dscale_shift;
};
Backward run_backward(const OperatorTable& table, GroupNormArgs args, Forward& forward,
                      const Floats& dy) {
  const int64_t c = args.c0 + args.c1;
  args.mean = forward.mean.data();
  args.rstd = forward.rstd.data();
  Backward r{poisoned(args.n * args.hw * args.c0),
             poisoned(args.n * args.hw * args.c1),
             poisoned(c),
             poisoned(c),
             {}};
  if (args.scale_shift) r.dscale_shift = poisoned(args.n * 2 * c);
  table.group_norm_backward({.forward = args,
                             .dy = dy.data(),
                             .dx0 = r.dx0.data(),
                             .dx1 = r.dx1.empty() ? nullptr : r.dx1.data(),
                             .dgamma = r.dgamma.data(),
                             .dbeta = r.dbeta.data(),
                             .dscale_shift = args.scale_shift ? r.dscale_shift.data() : nullptr});
  return r;
}

// Channels [begin, end) of [rows, c].
Doubles channels(const Doubles& x, int64_t c, int64_t begin, int64_t end) {
  Doubles part;
  for (size_t p = 0; p < x.size(); p += static_cast<size_t>(c))
    part.insert(part.end(), x.begin() + p + begin, x.begin() + p + end);
  return part;
}

TEST(GroupNorm, MatchesReference) {
  for (const OperatorTable* table : tables()) {
    for (const GroupNormCase& k : group_norm_cases()) {
      const Arrays a(k);
      const Forward actual = run(*table, a.args);
      const reference::GroupNormResult expected = reference::group_norm(a.in_double());
      expect_close(actual.y, expected.y, k.tolerance, std::string(k.name) + " y");
      expect_close(actual.mean, expected.mean, k.tolerance, std::string(k.name) + " mean");
      expect_close(actual.rstd, expected.rstd, k.tolerance, std::string(k.name) + " rstd");
    }
  }
}

TEST(GroupNorm, BackwardMatchesReference) {
  for (const OperatorTable* table : tables()) {
    for (const GroupNormCase& k : group_norm_cases()) {
      const Arrays a(k);
      Forward forward = run(*table, a.args);
      const Backward actual = run_backward(*table, a.args, forward, a.dy);
      const reference::GroupNormGradients expected =
          reference::group_norm_backward(a.in_double(), to_double(a.dy));
      const std::string name = k.name;
      const double tolerance = 2 * k.tolerance;
      expect_close(actual.dx0, channels(expected.dx, k.c(), 0, k.c0), tolerance, name + " dx0");
      expect_close(actual.dx1, channels(expected.dx, k.c(), k.c0, k.c()), tolerance, name + " dx1");
      expect_close(actual.dgamma, expected.dgamma, tolerance, name + " dgamma");
      expect_close(actual.dbeta, expected.dbeta, tolerance, name + " dbeta");
      if (k.scale_shift)
        expect_close(actual.dscale_shift, expected.dscale_shift, tolerance, name + " dscale_shift");
    }
  }
}

TEST(GroupNorm, ReferenceGradientIsTheDerivative) {
  for (const GroupNormCase& k : group_norm_cases()) {
    if (k.size() > 5000 || k.offset != 0) continue;
    const Arrays a(k);
    const reference::GroupNorm s = a.in_double();
    const Doubles dy = to_double(a.dy);
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

TEST(GroupNorm, BitsDoNotDependOnThreads) {
  for (const OperatorTable* table : tables()) {
    for (const GroupNormCase& k : group_norm_cases()) {
      const Arrays a(k);
      expect_thread_independent(
          [&]() -> std::vector<Floats> {
            Forward f = run(*table, a.args);
            Backward b = run_backward(*table, a.args, f, a.dy);
            return {f.y, f.mean, f.rstd, b.dx0, b.dx1, b.dgamma, b.dbeta, b.dscale_shift};
          },
          k.name);
    }
  }
}

TEST(GroupNorm, BitsDoNotDependOnBatch) {
  for (const OperatorTable* table : tables()) {
    for (const GroupNormCase& k : group_norm_cases()) {
      const Arrays a(k);
      Forward all = run(*table, a.args);
      const Backward all_back = run_backward(*table, a.args, all, a.dy);
      for (int64_t n = 0; n < std::min<int64_t>(k.n, 3); ++n) {
        GroupNormArgs one = a.args;
        one.n = 1;
        one.x0 += n * k.hw * k.c0;
        if (one.x1) one.x1 += n * k.hw * k.c1;
        if (one.scale_shift) one.scale_shift += n * 2 * k.c();
        one.dropout.first_sample += n;
        Forward alone = run(*table, one);
        expect_same_bits(alone.y, row(all.y, k.n, n), k.name);
        const Backward back = run_backward(*table, one, alone, row(a.dy, k.n, n));
        expect_same_bits(back.dx0, row(all_back.dx0, k.n, n), k.name);
      }
    }
  }
}

TEST(GroupNorm, NullOutputsAreSkipped) {
  for (const OperatorTable* table : tables()) {
    const GroupNormCase k{"", 2, 9, 10, 6, 4, true, true};
    const Arrays a(k);
    Forward f = run(*table, a.args);
    const Backward all = run_backward(*table, a.args, f, a.dy);
    GroupNormBackwardArgs args{};
    args.forward = a.args;
    args.forward.mean = f.mean.data();
    args.forward.rstd = f.rstd.data();
    args.dy = a.dy.data();
    Floats only = poisoned(k.n * k.hw * k.c1);
    args.dx1 = only.data();
    table->group_norm_backward(args);
    expect_same_bits(only, all.dx1, "dx1 alone");
    args.dx1 = nullptr;
    only = poisoned(k.c());
    args.dgamma = only.data();
    table->group_norm_backward(args);
    expect_same_bits(only, all.dgamma, "dgamma alone");
  }
}

TEST(GroupNorm, ConstantInputIsFinite) {
  for (const OperatorTable* table : tables()) {
    Arrays a(GroupNormCase{"", 1, 49, 32, 0, 32, false, false});
    std::fill(a.x0.begin(), a.x0.end(), 3.0f);
    const Forward f = run(*table, a.args);
    for (size_t i = 0; i < f.y.size(); ++i) EXPECT_NEAR(f.y[i], a.beta[i % 32], 1e-3);
    EXPECT_NEAR(f.rstd[0], 1 / std::sqrt(1e-5), 1e-2);
  }
}

// A recorded training step reads the step of its dropout from memory; the scalar is then ignored.
TEST(GroupNorm, DropoutStepMayLieInMemory) {
  for (const OperatorTable* table : tables()) {
    Arrays a({"", 3, 49, 64, 0, 32, true, true, 0.1f});
    Forward scalar = run(*table, a.args);
    const Backward scalar_gradients = run_backward(*table, a.args, scalar, a.dy);
    const uint32_t step = a.args.dropout.key.step;
    a.args.dropout.key.step = step + 1;
    EXPECT_NE(run(*table, a.args).y, scalar.y);
    a.args.dropout.key.step_at = &step;
    Forward memory = run(*table, a.args);
    expect_same_bits(memory.y, scalar.y, "y");
    const Backward gradients = run_backward(*table, a.args, memory, a.dy);
    expect_same_bits(gradients.dx0, scalar_gradients.dx0, "dx0");
    expect_same_bits(gradients.dgamma, scalar_gradients.dgamma, "dgamma");
  }
}

TEST(GroupNorm, DropoutKeepsTheRightShare) {
  Dropout d{0.25f, {1, Purpose::dropout, 0}, 0};
  double kept = 0;
  const int64_t n = 100000;
  for (int64_t e = 0; e < n; ++e) kept += reference::dropout_factor(d, 9, e) > 0;
  EXPECT_NEAR(kept / n, 0.75, 0.005);  // 3.6 standard deviations
}

TEST(GroupNorm, NanIsNotHidden) {
  for (const OperatorTable* table : tables()) {
    Arrays a(GroupNormCase{"", 2, 9, 32, 0, 8, true, false});
    a.x0[4] = std::numeric_limits<float>::quiet_NaN();
    const Forward f = run(*table, a.args);
    EXPECT_TRUE(std::isnan(f.y[4]) && std::isnan(f.mean[1]));
    EXPECT_FALSE(std::isnan(f.y[9 * 32 + 4]));  // the other sample is untouched
  }
}

TEST(GroupNorm, RejectsBadArguments) {
  for (const OperatorTable* table : tables()) {
    const GroupNormCase k{"", 1, 4, 8, 0, 4, true, false};
    const Arrays a(k);
    const auto with = [&](auto change) {
      Floats y = poisoned(k.size()), mean = poisoned(8), rstd = poisoned(8);
      GroupNormArgs args = a.args;
      args.y = y.data();
      args.mean = mean.data();
      args.rstd = rstd.data();
      change(args);
      table->group_norm(args);
    };
    EXPECT_NO_THROW(with([](GroupNormArgs&) {}));
    EXPECT_NO_THROW(with([](GroupNormArgs& g) { g.n = 0; }));
    EXPECT_THROW(with([](GroupNormArgs& g) { g.groups = 3; }), Error);
    EXPECT_THROW(with([](GroupNormArgs& g) { g.groups = 0; }), Error);
    EXPECT_THROW(with([](GroupNormArgs& g) { g.hw = 0; }), Error);
    EXPECT_THROW(with([](GroupNormArgs& g) { g.c1 = 4; }), Error);
    EXPECT_THROW(with([](GroupNormArgs& g) { g.dropout.rate = 1; }), Error);
    EXPECT_THROW(with([](GroupNormArgs& g) { g.gamma = nullptr; }), Error);
    EXPECT_THROW(with([](GroupNormArgs& g) { g.y = nullptr; }), Error);
    EXPECT_THROW(with([](GroupNormArgs& g) { g.n = -1; }), Error);
  }
}

}  // namespace
}  // namespace diffscm::kernels
