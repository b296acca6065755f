// The variational bound's term against the double reference, its gradient against central
// differences, and what the term must be where that is known.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

// Of the linear schedule of 1000 steps: t = 0, 1, 100 and 900.
constexpr BoundStep kSteps[] = {{0.6064f, -9.8167f, 0.0100005f, 1},
                                {0.7880f, -9.8167f, 0.0080872f, 0},
                                {0.0181f, -6.1877f, 0.0064672f, 0},
                                {5.0e-6f, -4.0158f, 0.0181951f, 0}};

// Samples of different timesteps. Of each, images on levels, the outermost among them.
struct Problem {
  explicit Problem(const Device& d, int64_t n, int64_t elements)
      : n(n),
        elements(elements),
        eps(d.input(random_floats(n * elements, 1))),
        v(d.input(random_floats(n * elements, 2))),
        noise(d.input(random_floats(n * elements, 3))),
        x_t(d.input(images(noise.floats()))),
        step(d.input(steps())) {}

  void run(const Device& d, float weight, Array<float>& loss, float* gradient) const {
    d.table.variational_bound({n, elements, weight, eps, v, noise, x_t, step, loss, gradient});
  }
  reference::Loss expected(double weight) const {
    return reference::variational_bound(n, elements, weight, eps.doubles(), v.doubles(),
                                        noise.doubles(), x_t.doubles(), step.doubles());
  }

  int64_t n, elements;
  Array<const float> eps, v, noise, x_t, step;

 private:
  static const BoundStep& step_of(int64_t sample) { return kSteps[sample % 4]; }
  Floats steps() const {
    Floats all;
    for (int64_t i = 0; i < n; ++i) {
      const BoundStep& s = step_of(i);
      all.insert(all.end(), {s.gap, s.log_least, s.slope, s.last});
    }
    return all;
  }
  Floats images(const Floats& noise) const {
    Floats x(noise.size());
    for (size_t i = 0; i < x.size(); ++i) {
      const double slope = step_of(static_cast<int64_t>(i) / elements).slope;
      const double x_0 = static_cast<double>(i * 85 % 256) * 2 / 255 - 1;  // 0, 85, 170, 255, ..
      x[i] = static_cast<float>((x_0 + slope * noise[i]) / std::sqrt(1 + slope * slope));
    }
    return x;
  }
};

TARGET_TEST(VariationalBound, MatchesReference) {
  for (const auto [n, elements] : rows_cases()) {
    d.offset = elements % 2;
    const Problem p(d, n, elements);
    auto loss = d.output(n), gradient = d.output(n * elements), alone = d.output(n);
    p.run(d, 0.7f, loss, gradient);
    p.run(d, 0.7f, alone, nullptr);
    const auto expected = p.expected(static_cast<double>(0.7f));
    for (int64_t i = 0; i < n; ++i) {
      SCOPED_TRACE(fmt::format("[{}, {}] sample {}", n, elements, i));
      expect_close(row(loss.floats(), n, i), {expected.loss[i]}, 1e-7, "bound");
      const auto begin = expected.gradient.begin() + i * elements;
      expect_close(row(gradient.floats(), n, i), Doubles(begin, begin + elements), 2e-7,
                   "bound gradient");
    }
    expect_same_bits(alone, loss, "bound without gradient");
  }
}

TARGET_TEST(VariationalBound, IsReproducible) {
  const Problem p(d, 5, 20011);
  expect_reproducible(
      d,
      [&]() -> std::vector<Floats> {
        auto loss = d.output(p.n), gradient = d.output(p.n * p.elements);
        p.run(d, 0.7f, loss, gradient);
        return {loss.floats(), gradient.floats()};
      },
      "bound");
}

// A network that knows the noise and takes the posterior's variance makes the posterior's step.
TARGET_TEST(VariationalBound, ThePosteriorHasNoDivergenceFromItself) {
  const Floats numbers = random_floats(6, 1);
  const auto noise = d.input(numbers), v = d.input(Floats(6, -1.0f)),
             step = d.input(Floats{0.6f, -9, 0.01f, 0, 0.02f, -6, 0.01f, 0});
  auto loss = d.output(2), gradient = d.output(6);
  d.table.variational_bound({2, 3, 1, noise, v, noise, noise, step, loss, gradient});
  EXPECT_EQ(loss.floats(), Floats(2));
  for (const float g : gradient.floats()) EXPECT_EQ(g, 0);
}

// What the last step gives to the 256 levels, whatever its mean and its variance, adds up to one.
TARGET_TEST(VariationalBound, TheLevelsShareOneProbability) {
  constexpr int64_t kLevels = 256;
  const double slope = 0.0625, x_t = 0.3;
  for (const double mean : {-1.02, -0.2, 0.43, 0.999}) {
    Floats eps, noise;
    for (int64_t level = 0; level < kLevels; ++level) {
      const double x_0 = static_cast<double>(level) * 2 / 255 - 1;
      const double clean = std::sqrt(1 + slope * slope) * static_cast<double>(float(x_t));
      noise.push_back(static_cast<float>((clean - x_0) / slope));
      eps.push_back(static_cast<float>((clean - mean) / slope));
    }
    Floats steps;
    for (int64_t level = 0; level < kLevels; ++level)
      steps.insert(steps.end(), {2.0f, -9.0f, static_cast<float>(slope), 1.0f});
    for (const float v : {-1.0f, 0.3f, 3.0f}) {
      auto loss = d.output(kLevels);
      d.table.variational_bound({kLevels, 1, 1, d.input(eps), d.input(Floats(kLevels, v)),
                                 d.input(noise), d.input(Floats(kLevels, float(x_t))),
                                 d.input(steps), loss, nullptr});
      double sum = 0;
      for (const float bits : loss.floats()) sum += std::exp2(-double{bits});
      EXPECT_NEAR(sum, 1, 2e-5) << "mean " << mean << ", v " << v;
    }
  }
}

// A level that the mean is far away from counts as 1e-12, and has no say in the variance.
TARGET_TEST(VariationalBound, AnImpossibleLevelIsNotInfinitelyBad) {
  const auto zero = d.input(Floats(1)), far = d.input(Floats{60}), v = d.input(Floats{0.5f}),
             step = d.input(Floats{0.6f, -9.8f, 0.01f, 1});
  auto loss = d.output(1), gradient = d.output(1);
  d.table.variational_bound({1, 1, 1, far, v, zero, zero, step, loss, gradient});
  EXPECT_NEAR(loss.floats()[0], 12 * std::log2(10.0), 1e-5);
  EXPECT_EQ(gradient.floats()[0], 0);
}

TEST(VariationalBound, ReferenceGradientIsTheDerivative) {
  const Device d(kTargets[0]);
  const Problem p(d, 4, 7);
  const Doubles eps = p.eps.doubles(), noise = p.noise.doubles(), x_t = p.x_t.doubles(),
                step = p.step.doubles();
  check_gradient(
      [&](const Doubles& v) {
        double total = 0;
        for (const double loss :
             reference::variational_bound(4, 7, 1, eps, v, noise, x_t, step).loss)
          total += 0.5 * loss;
        return total;
      },
      p.v.doubles(), p.expected(0.5).gradient, "bound");
}

TARGET_TEST(VariationalBound, RejectsBadArguments) {
  const auto x = d.input(Floats(4));
  auto out = d.output(4);
  EXPECT_NO_THROW(d.table.variational_bound({1, 4, 1, x, x, x, x, x, out, nullptr}));
  EXPECT_NO_THROW(d.table.variational_bound(
      {0, 4, 1, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr}));
  EXPECT_THROW(d.table.variational_bound({1, 0, 1, x, x, x, x, x, out, nullptr}), Error);
  EXPECT_THROW(d.table.variational_bound({1, 4, 1, x, nullptr, x, x, x, out, nullptr}), Error);
  EXPECT_THROW(d.table.variational_bound({1, 4, 1, x, x, x, x, nullptr, out, nullptr}), Error);
}

}  // namespace
}  // namespace diffscm::kernels
