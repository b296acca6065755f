#include "causal/mechanisms/rational_quadratic_spline.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/error.h"

namespace diffscm::causal {
namespace {

const std::vector<double> kRaw{.1, -.3, .5, 0, -.2, .4, 0, .3, .2, -.5, .7};
const SplineShape kShape{.bins = 4, .bound = 3};

// Of nflows' own code.
TEST(RationalQuadraticSpline, AgreesWithNflows) {
  const RationalQuadraticSpline spline(kRaw, kShape);
  const double x[] = {-2.5, -1, 0, .7, 2.9};
  const double y[] = {-2.594843974, -.839857644, .212371716, .540919287, 2.894970618};
  const double l[] = {-.381098610, 1.056896053, -.832766905, -.633337612, .094986601};
  for (int i = 0; i < 5; ++i) {
    EXPECT_NEAR(spline.forward(x[i]).value, y[i], 1e-8);
    EXPECT_NEAR(spline.forward(x[i]).log_derivative, l[i], 1e-8);
  }
}

TEST(RationalQuadraticSpline, InverseReturnsEverywhere) {
  std::mt19937 random(1);
  std::normal_distribution<double> normal(0, 2);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<double> raw(static_cast<size_t>(kShape.parameters()));
    for (double& v : raw) v = normal(random);
    const RationalQuadraticSpline spline(raw, kShape);
    for (double x = -3.5; x <= 3.5; x += 0.0625) {  // meets -B, B and what lies outside
      const auto there = spline.forward(x), back = spline.inverse(there.value);
      // Of y's last bit, the inverse makes 1 / slope as much of x.
      const double steep = 1 + std::exp(-there.log_derivative);
      EXPECT_NEAR(back.value, x, 1e-12 * steep);
      EXPECT_NEAR(back.log_derivative, -there.log_derivative, 1e-9 * steep);
    }
  }
}

TEST(RationalQuadraticSpline, IsTheIdentityOutside) {
  const RationalQuadraticSpline spline(kRaw, kShape);
  for (const double x : {-7.0, -3.0, 3.0, 1e9}) {
    EXPECT_EQ(spline.forward(x).value, x);
    EXPECT_EQ(spline.forward(x).log_derivative, 0);
    EXPECT_EQ(spline.inverse(x).value, x);
  }
  EXPECT_TRUE(std::isnan(spline.forward(NAN).value));
}

TEST(RationalQuadraticSpline, GradientIsThatOfDifferences) {
  const double x[] = {-2.9, -1, 0, .7, 2.9, 3.5}, wy = 0.7, wl = -1.3, h = 1e-6;
  const auto loss = [&](const std::vector<double>& raw, double at) {
    const auto v = RationalQuadraticSpline(raw, kShape).forward(at);
    return wy * v.value + wl * v.log_derivative;
  };
  for (const double at : x) {
    std::vector<double> gradient(kRaw.size(), 0.0);
    const double dx = RationalQuadraticSpline(kRaw, kShape).backward(at, wy, wl, gradient);
    EXPECT_NEAR(dx, (loss(kRaw, at + h) - loss(kRaw, at - h)) / (2 * h), 1e-7);
    for (size_t i = 0; i < kRaw.size(); ++i) {
      std::vector<double> up = kRaw, down = kRaw;
      up[i] += h;
      down[i] -= h;
      EXPECT_NEAR(gradient[i], (loss(up, at) - loss(down, at)) / (2 * h), 1e-7) << at << " " << i;
    }
  }
}

TEST(RationalQuadraticSpline, GoesThroughKnotsAndOnAsALine) {
  const std::vector<double> x{-1, 0, 0.5, 4}, y{-3, -2, 2, 2.5};
  const RationalQuadraticSpline spline(x, y);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(spline.forward(x[i]).value, y[i], 1e-12);
  EXPECT_NEAR(spline.forward(-3).value, -5, 1e-12);  // the first secant is 1
  EXPECT_NEAR(spline.forward(4 + 7).value, 3.5, 1e-12);
  double last = -INFINITY;
  for (double at = -3; at < 8; at += 0.01) {
    const auto there = spline.forward(at);
    EXPECT_GT(there.value, last);
    last = there.value;
    const auto back = spline.inverse(there.value);
    EXPECT_NEAR(back.value, at, 1e-9);
    EXPECT_NEAR(back.log_derivative, -there.log_derivative, 1e-9);
    const double h = 1e-6, slope = spline.forward(at + h).value - spline.forward(at - h).value;
    EXPECT_NEAR(std::log(slope / (2 * h)), there.log_derivative, 1e-4) << at;
  }
}

TEST(RationalQuadraticSpline, RefusesWhatItCannotUse) {
  EXPECT_THROW(RationalQuadraticSpline(kRaw, {.bins = 5, .bound = 3}), Error);
  EXPECT_THROW(
      RationalQuadraticSpline(std::span<const double>(), SplineShape{.bins = 0, .bound = 3}),
      Error);
  EXPECT_THROW(RationalQuadraticSpline(kRaw, {.bins = 4, .bound = 0}), Error);
  using Knots = std::vector<double>;
  for (const auto& [x, y] : std::vector<std::pair<Knots, Knots>>{
           {{0}, {0}}, {{0, 1}, {0}}, {{0, 0}, {0, 1}}, {{0, 1}, {1, 1}}, {{0, 1}, {0, NAN}}})
    EXPECT_THROW(RationalQuadraticSpline(x, y), Error);
}

}  // namespace
}  // namespace diffscm::causal
