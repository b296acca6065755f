// AdamW against the double reference over several steps.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

struct State {
  Floats gradient, p, m, v, ema;
  AdamwArgs args;

  explicit State(const AdamwCase& k)
      : gradient(random_floats(k.n, 1)),
        p(random_floats(k.n, 2)),
        m(random_floats(k.n, 3, 0.1f)),
        v(random_floats(k.n, 4, 0.1f)),
        ema(random_floats(k.n, 5)) {
    for (float& value : v) value = value * value;
    args = {.n = k.n,
            .step = k.step,
            .lr = k.lr,
            .beta1 = 0.9,
            .beta2 = 0.999,
            .eps = 1e-8,
            .weight_decay = k.weight_decay,
            .ema_decay = 0.99,
            .gradient_scale = k.gradient_scale,
            .gradient = gradient.data(),
            .parameter = p.data(),
            .m = m.data(),
            .v = v.data(),
            .ema = k.ema ? ema.data() : nullptr};
  }
};

TEST(Adamw, MatchesReference) {
  for (const OperatorTable* table : tables()) {
    for (const AdamwCase& k : adamw_cases()) {
      if (k.timed) continue;
      State s(k);
      std::vector<reference::AdamwState> states;
      for (int64_t i = 0; i < k.n; ++i) states.push_back({s.p[i], s.m[i], s.v[i], s.ema[i]});
      for (int step = 0; step < 3; ++step) {
        table->adamw(s.args);
        for (int64_t i = 0; i < k.n; ++i)
          states[i] = reference::adamw(s.args, states[i], s.gradient[i]);
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
}

// Decay is applied to the weight, not through the gradient: with no gradient the weight shrinks by
// exactly 1 - lr * weight_decay (this is what distinguishes AdamW from Adam with L2).
TEST(Adamw, DecayIsDecoupled) {
  for (const OperatorTable* table : tables()) {
    State s(AdamwCase{"", 10, 1, false, 0.1, 0.5});
    std::fill(s.gradient.begin(), s.gradient.end(), 0.0f);
    std::fill(s.m.begin(), s.m.end(), 0.0f);
    const Floats before = s.p;
    table->adamw(s.args);
    for (size_t i = 0; i < before.size(); ++i) EXPECT_FLOAT_EQ(s.p[i], before[i] * 0.95f);
  }
}

TEST(Adamw, FirstStepHasTheSizeOfTheRate) {
  for (const OperatorTable* table : tables()) {
    State s(AdamwCase{"", 50, 1, false, 0.01, 0});
    std::fill(s.m.begin(), s.m.end(), 0.0f);
    std::fill(s.v.begin(), s.v.end(), 0.0f);
    const Floats before = s.p;
    table->adamw(s.args);
    for (size_t i = 0; i < before.size(); ++i)
      EXPECT_NEAR(s.p[i] - before[i], s.gradient[i] > 0 ? -0.01 : 0.01, 1e-6);
  }
}

TEST(Adamw, BitsDoNotDependOnThreads) {
  for (const OperatorTable* table : tables()) {
    expect_thread_independent(
        [&]() -> std::vector<Floats> {
          State s(adamw_cases()[2]);
          table->adamw(s.args);
          return {s.p, s.m, s.v};
        },
        "adamw");
  }
}

// A recorded step reads its schedule from memory; step, lr and ema_decay are then ignored.
TEST(Adamw, ScheduleMayLieInMemory) {
  for (const OperatorTable* table : tables()) {
    for (const AdamwCase& k : adamw_cases()) {
      if (k.timed) continue;
      State scalar(k), memory(k);
      table->adamw(scalar.args);
      const AdamwArgs& a = scalar.args;
      const double t = static_cast<double>(k.step);
      const double schedule[] = {a.lr, 1 - std::pow(a.beta1, t), 1 - std::pow(a.beta2, t),
                                 a.ema_decay};
      memory.args.schedule = schedule;
      memory.args.step = 0;
      memory.args.lr = memory.args.ema_decay = -1;
      table->adamw(memory.args);
      expect_same_bits(memory.p, scalar.p, std::string(k.name) + " p");
      expect_same_bits(memory.m, scalar.m, std::string(k.name) + " m");
      expect_same_bits(memory.v, scalar.v, std::string(k.name) + " v");
      expect_same_bits(memory.ema, scalar.ema, std::string(k.name) + " ema");
    }
  }
}

TEST(Adamw, RejectsBadArguments) {
  for (const OperatorTable* table : tables()) {
    State s(AdamwCase{"", 4, 1, true});
    const auto with = [&](auto change) {
      AdamwArgs args = s.args;
      change(args);
      table->adamw(args);
    };
    EXPECT_NO_THROW(with([](AdamwArgs& a) { a.n = 0; }));
    EXPECT_THROW(with([](AdamwArgs& a) { a.n = -1; }), Error);
    EXPECT_THROW(with([](AdamwArgs& a) { a.step = 0; }), Error);
    EXPECT_THROW(with([](AdamwArgs& a) { a.beta2 = 1; }), Error);
    EXPECT_THROW(with([](AdamwArgs& a) { a.v = nullptr; }), Error);
  }
}

}  // namespace
}  // namespace diffscm::kernels
