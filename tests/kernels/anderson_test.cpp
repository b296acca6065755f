// An iteration of Anderson acceleration against the same in double: its state, what it learns and
// the step that it proposes; and that it solves what plain iteration does not.
#include "kernels/anderson.h"

#include <cstring>

#include "tests/kernels/support.h"
#include "tests/reference_anderson.h"

namespace diffscm::kernels {
namespace {

using namespace test;

struct Case {
  int64_t images, elements;
  int memory;
  int iterations;  // that are compared with those in double, before round-off has grown
};

// The arrays of a problem under way.
struct Problem {
  Case k;
  Array<const float> y, eps_trial;
  Array<float> below, trial, x, f, eps, dx, df;
  Array<double> state;

  Problem(const Device& d, const Case& k)
      : k(k),
        y(d.input(random_floats(k.images * k.elements, 1))),
        eps_trial(d.input(random_floats(k.images * k.elements, 2))),
        below(d.output(k.images * k.elements)),
        trial(d.inout(y.floats())),
        x(d.inout(y.floats())),
        f(d.output(k.images * k.elements)),
        eps(d.output(k.images * k.elements)),
        dx(d.output(k.memory * k.images * k.elements)),
        df(d.output(k.memory * k.images * k.elements)),
        state(d.output<double>(k.images * anderson_state_size(k.memory))) {
    state.upload(std::vector<double>(static_cast<size_t>(state.size())));
  }

  AndersonArgs args(const int64_t* rows, int64_t n, double tolerance) {
    return {.n = n,
            .images = k.images,
            .elements = k.elements,
            .memory = k.memory,
            .plain = 0.7,
            .longest = 1.3,
            .tolerance = tolerance,
            .evaluations_most = 60,
            .rows = rows,
            .y = y,
            .below = below,
            .eps_trial = eps_trial,
            .trial = trial,
            .x = x,
            .f = f,
            .eps = eps,
            .dx = dx,
            .df = df,
            .state = state};
  }
};

// An affine step with a factor of its own for each element: plain iteration multiplies residuals by
// 1 - 0.7 factor, which is less than -1 for the last of them.
double led_to(double x, int64_t e) {
  constexpr double kFactors[] = {0.4, 1.0, 1.7, 2.5, 3.4};
  return kFactors[e % 5] * x + 0.3;
}

// Images in reverse order; image `odd` gets answers that are not finite at iteration `when`.
struct Run {
  Problem p;
  std::vector<reference::Anderson> expected;
  std::vector<int64_t> order;
  double tolerance;

  Run(const Device& d, const Case& k, double tolerance) : p(d, k), tolerance(tolerance) {
    const auto rows = d.input(std::vector<int64_t>(1));
    const AndersonArgs args = p.args(rows, k.images, tolerance);
    for (int64_t i = 0; i < k.images; ++i) {
      order.push_back(k.images - 1 - i);
      const Doubles y = image(p.y.doubles(), i);
      expected.emplace_back(args, y, y);
    }
    reversed(p.trial);
  }

  Doubles image(const Doubles& all, int64_t i) const {
    const auto begin = all.begin() + i * p.k.elements;
    return Doubles(begin, begin + p.k.elements);
  }
  void reversed(Array<float>& batch) const {
    const Floats before = batch.floats();
    Floats after;
    for (const int64_t i : order)
      after.insert(after.end(), before.begin() + i * p.k.elements,
                   before.begin() + (i + 1) * p.k.elements);
    batch.upload(after);
  }

  void iterate(const Device& d, int64_t odd = -1) {
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    const int64_t elements = p.k.elements;
    const Floats trial = p.trial.floats();
    const Doubles eps = p.eps_trial.doubles();
    Floats below;
    for (size_t at = 0; at < trial.size(); ++at) {
      const auto e = static_cast<int64_t>(at) % elements;
      const int64_t i = order[at / static_cast<size_t>(elements)];
      below.push_back(static_cast<float>(i == odd ? kNan : led_to(trial[at], e)));
    }
    p.below.upload(below);
    const auto rows = d.input(order);
    d.table.anderson(p.args(rows, p.k.images, tolerance));
    for (size_t at = 0; at < order.size(); ++at) {
      reference::Anderson& one = expected[static_cast<size_t>(order[at])];
      Doubles led;
      for (int64_t e = 0; e < elements; ++e)
        led.push_back(order[at] == odd ? kNan : led_to(one.trial[static_cast<size_t>(e)], e));
      one.iterate(led, image(eps, static_cast<int64_t>(at)));
    }
  }

  AndersonState state(int64_t i) const {
    AndersonState s;
    std::memcpy(&s, p.state.values().data() + i * anderson_state_size(p.k.memory), sizeof s);
    return s;
  }

  void compare(const std::string& what) {
    constexpr double kTolerance = 1e-3;
    for (size_t at = 0; at < order.size(); ++at) {
      const int64_t i = order[at];
      const reference::Anderson& one = expected[static_cast<size_t>(i)];
      const std::string name = fmt::format("{}, image {}", what, i);
      const auto part = [&](const Array<float>& all, int64_t row) {
        const Floats values = all.floats();
        const auto begin = values.begin() + row * p.k.elements;
        return Floats(begin, begin + p.k.elements);
      };
      expect_close(part(p.trial, static_cast<int64_t>(at)), one.trial, kTolerance, name + " trial");
      expect_close(part(p.x, i), one.x, kTolerance, name + " x");
      expect_close(part(p.eps, i), one.eps, 1e-7, name + " eps");
      const AndersonState s = state(i);
      EXPECT_EQ(s.evaluations, static_cast<double>(one.evaluations)) << name;
      EXPECT_EQ(s.refusals, static_cast<double>(one.refusals)) << name;
      EXPECT_EQ(s.finished != 0, one.finished) << name;
      EXPECT_EQ(s.damping, one.damping) << name;
      EXPECT_NEAR(s.residual, one.residual, kTolerance * one.residual) << name;
      EXPECT_NEAR(s.reach, one.reach, kTolerance * one.reach) << name;
    }
  }
};

TARGET_TEST(Anderson, IteratesAsInDouble) {
  for (const Case& k :
       {Case{1, 1, 0, 4}, {3, 7, 1, 6}, {2, 33, 5, 5}, {5, 300, 3, 5}, {1, 784, 16, 4}}) {
    Run run(d, k, 1e-9);
    for (int i = 0; i < k.iterations; ++i) {
      run.iterate(d);
      run.compare(fmt::format("{} elements, memory {}, iteration {}", k.elements, k.memory, i));
    }
  }
}

TARGET_TEST(Anderson, AnswersThatAreNotFinite) {
  // At once: nothing but the guess is known of the image. Later: a refusal.
  for (const int when : {0, 2}) {
    Run run(d, {3, 40, 4, 0}, 1e-9);
    if (when == 0) run.p.eps.upload(Floats(120, 0.0f));
    for (int i = 0; i < 5; ++i) {
      run.iterate(d, i == when ? 1 : -1);
      const AndersonState s = run.state(1);
      if (when == 0) {
        EXPECT_EQ(s.finished, 1);
        EXPECT_EQ(s.evaluations, 1);
        EXPECT_TRUE(std::isinf(s.residual));
      } else {
        run.compare(fmt::format("iteration {}", i));
      }
    }
    for (const float v : run.p.trial.floats()) EXPECT_TRUE(std::isfinite(v));
    for (const float v : run.p.x.floats()) EXPECT_TRUE(std::isfinite(v));
  }
}

// Plain iteration would not: some of its factors are below -1.
TARGET_TEST(Anderson, SolvesAndThenLeavesItsImagesAlone) {
  Run run(d, {2, 60, 5, 0}, 1e-5);
  int iterations = 0;
  while (iterations < 60 && (run.state(0).finished == 0 || run.state(1).finished == 0)) {
    run.iterate(d);
    ++iterations;
  }
  EXPECT_LT(iterations, 20);
  const Floats x = run.p.x.floats(), y = run.p.y.floats();
  double square = 0;
  for (int64_t at = 0; at < 120; ++at)
    square += std::pow(y[static_cast<size_t>(at)] - led_to(x[static_cast<size_t>(at)], at % 60), 2);
  EXPECT_LT(std::sqrt(square / 120), 1e-5);
  const auto state = run.p.state.values();
  run.iterate(d, 0);
  EXPECT_EQ(run.p.state.values(), state);
  expect_same_bits(run.p.x.floats(), x, "x of finished images");
  Floats trial = run.p.trial.floats();
  std::rotate(trial.begin(), trial.begin() + 60, trial.end());  // the order was reversed
  expect_same_bits(trial, x, "their trial is x");
}

TARGET_TEST(Anderson, AnImageDoesNotDependOnTheOthers) {
  const Case k{4, 50, 3, 0};
  Problem all(d, k), some(d, k);
  const auto order = d.input(std::vector<int64_t>{0, 1, 2, 3}),
             one = d.input(std::vector<int64_t>{2});
  const auto image = [](const Floats& x, int64_t i) {
    return Floats(x.begin() + i * 50, x.begin() + (i + 1) * 50);
  };
  some.trial.upload([&] {
    Floats trial = some.y.floats();
    std::copy_n(trial.begin() + 100, 50, trial.begin());
    return trial;
  }());
  for (int i = 0; i < 6; ++i) {
    for (Problem* p : {&all, &some}) {
      Floats below = p->trial.floats();
      for (size_t e = 0; e < below.size(); ++e)
        below[e] = static_cast<float>(led_to(below[e], static_cast<int64_t>(e) % 50));
      p->below.upload(below);
    }
    d.table.anderson(all.args(order, 4, 1e-9));
    d.table.anderson(some.args(one, 1, 1e-9));
    expect_same_bits(image(some.trial.floats(), 0), image(all.trial.floats(), 2), "trial");
    expect_same_bits(image(some.x.floats(), 2), image(all.x.floats(), 2), "x");
  }
}

TARGET_TEST(Anderson, RejectsBadArguments) {
  Problem p(d, {2, 4, 2, 0});
  const auto rows = d.input(std::vector<int64_t>{0, 1});
  const auto with = [&](auto change) {
    AndersonArgs args = p.args(rows, 0, 1e-9);
    change(args);
    d.table.anderson(args);
  };
  using Args = AndersonArgs;
  EXPECT_NO_THROW(with([](Args&) {}));
  EXPECT_THROW(with([](Args& a) { a.n = 3; }), Error);
  EXPECT_THROW(with([](Args& a) { a.memory = 17; }), Error);
  EXPECT_THROW(with([](Args& a) { a.plain = std::nan(""); }), Error);
  EXPECT_THROW(with([](Args& a) { a.n = 2, a.rows = nullptr; }), Error);
  EXPECT_THROW(with([](Args& a) { a.n = 2, a.df = nullptr; }), Error);
}

}  // namespace
}  // namespace diffscm::kernels
