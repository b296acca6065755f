// AdamW against the double reference over several steps.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

struct State {
  Array<const float> gradient;
  Array<float> p, m, v, ema;
  AdamwArgs args;

  State(const Device& d, const AdamwCase& k)
      : gradient(d.input(random_floats(k.n, 1))),
        p(d.inout(random_floats(k.n, 2))),
        m(d.inout(random_floats(k.n, 3, 0.1f))),
        v(d.inout(squares(random_floats(k.n, 4, 0.1f)))),
        ema(d.inout(random_floats(k.n, 5))) {
    args = {.n = k.n,
            .step = k.step,
            .lr = k.lr,
            .beta1 = 0.9,
            .beta2 = 0.999,
            .eps = 1e-8,
            .weight_decay = k.weight_decay,
            .ema_decay = 0.99,
            .gradient_scale = k.gradient_scale,
            .gradient = gradient,
            .parameter = p,
            .m = m,
            .v = v,
            .ema = k.ema ? ema.data() : nullptr};
  }

  static Floats squares(Floats x) {
    for (float& value : x) value = value * value;
    return x;
  }
};

TARGET_TEST(Adamw, MatchesReference) {
  for (const AdamwCase& k : adamw_cases()) {
    if (k.timed) continue;
    d.offset = k.n % 2;
    State s(d, k);
    const Floats gradient = s.gradient.floats();
    std::vector<reference::AdamwState> states;
    const Floats p0 = s.p.floats(), m0 = s.m.floats(), v0 = s.v.floats(), ema0 = s.ema.floats();
    for (int64_t i = 0; i < k.n; ++i) states.push_back({p0[i], m0[i], v0[i], ema0[i]});
    for (int step = 0; step < 3; ++step) {
      d.table.adamw(s.args);
      for (int64_t i = 0; i < k.n; ++i)
        states[i] = reference::adamw(s.args, states[i], gradient[i]);
      ++s.args.step;
    }
    Doubles p, m, v, ema;
    for (const auto& state : states) {
      p.push_back(state.p);
      m.push_back(state.m);
      v.push_back(state.v);
      ema.push_back(state.ema);
    }
    expect_close(s.p, p, k.tolerance, std::string(k.name) + " p");
    expect_close(s.m, m, k.tolerance, std::string(k.name) + " m");
    expect_close(s.v, v, k.tolerance, std::string(k.name) + " v");
    if (k.ema) expect_close(s.ema, ema, k.tolerance, std::string(k.name) + " ema");
  }
}

// Decay is applied to the weight, not through the gradient: with no gradient the weight shrinks by
// exactly 1 - lr * weight_decay (this is what distinguishes AdamW from Adam with L2).
TARGET_TEST(Adamw, DecayIsDecoupled) {
  State s(d, AdamwCase{"", 10, 1, false, 0.1, 0.5});
  const auto none = d.input(Floats(10));
  s.args.gradient = none;
  s.m.upload(Floats(10));
  const Floats before = s.p.floats();
  d.table.adamw(s.args);
  const Floats after = s.p.floats();
  for (size_t i = 0; i < before.size(); ++i) EXPECT_FLOAT_EQ(after[i], before[i] * 0.95f);
}

TARGET_TEST(Adamw, FirstStepHasTheSizeOfTheRate) {
  State s(d, AdamwCase{"", 50, 1, false, 0.01, 0});
  s.m.upload(Floats(50));
  s.v.upload(Floats(50));
  const Floats before = s.p.floats(), gradient = s.gradient.floats();
  d.table.adamw(s.args);
  const Floats after = s.p.floats();
  for (size_t i = 0; i < before.size(); ++i)
    EXPECT_NEAR(after[i] - before[i], gradient[i] > 0 ? -0.01 : 0.01, 1e-6);
}

TARGET_TEST(Adamw, IsReproducible) {
  expect_reproducible(
      d,
      [&]() -> std::vector<Floats> {
        State s(d, adamw_cases()[2]);
        d.table.adamw(s.args);
        return {s.p.floats(), s.m.floats(), s.v.floats()};
      },
      "adamw");
}

// A recorded step reads its schedule from memory; step, lr and ema_decay are then ignored.
TARGET_TEST(Adamw, ScheduleMayLieInMemory) {
  const AdamwCase k{"", 1000, 5, true, 3e-4};
  State expected(d, k), actual(d, k);
  const auto schedule =
      d.input(std::vector<double>{3e-4, 1 - std::pow(0.9, 5), 1 - std::pow(0.999, 5), 0.99});
  actual.args.schedule = schedule;
  actual.args.step = 0;
  actual.args.lr = actual.args.ema_decay = -1;
  d.table.adamw(expected.args);
  d.table.adamw(actual.args);
  expect_same_bits(actual.p, expected.p, "p");
  expect_same_bits(actual.m, expected.m, "m");
  expect_same_bits(actual.v, expected.v, "v");
  expect_same_bits(actual.ema, expected.ema, "ema");
}

TARGET_TEST(Adamw, RejectsBadArguments) {
  State s(d, AdamwCase{"", 4, 1, true});
  const auto with = [&](auto change) {
    AdamwArgs args = s.args;
    change(args);
    d.table.adamw(args);
  };
  EXPECT_NO_THROW(with([](AdamwArgs& a) { a.n = 0; }));
  EXPECT_THROW(with([](AdamwArgs& a) { a.n = -1; }), Error);
  EXPECT_THROW(with([](AdamwArgs& a) { a.step = 0; }), Error);
  EXPECT_THROW(with([](AdamwArgs& a) { a.beta2 = 1; }), Error);
  EXPECT_THROW(with([](AdamwArgs& a) { a.v = nullptr; }), Error);
}

}  // namespace
}  // namespace diffscm::kernels
