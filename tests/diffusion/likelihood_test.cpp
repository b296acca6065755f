#include "diffusion/likelihood.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "kernels/error.h"
#include "tests/diffusion/analytic.h"

namespace diffscm {
namespace {

using analytic::Mixture;

const NoiseSchedule kSchedule(ScheduleKind::linear, 1000);
const double kLeastVariance = 1 / kSchedule.alpha_bar(0) - 1;  // sigma^2 at timestep 0

// eps of a world and its product with v: every element of a Gaussian is on its own, and so is the
// one element of a mixture, so that the Jacobian is diagonal.
DifferentiableEpsilon epsilon_of(const Mixture& world) {
  return [world](const Tensor& x, const Tensor& t, const Tensor& v) {
    const EpsilonModel model = analytic::epsilon_of(world, kSchedule);
    const std::vector<float> along = v.to_vector();
    const auto elements = static_cast<size_t>(x.numel() / x.dim(0));
    size_t n = 0;
    const Tensor product =
        analytic::per_image(x, t, [&](std::span<const float> in, int timestep, auto out) {
          const double a = kSchedule.alpha_bar(timestep), h = 1e-3;
          std::vector<double> up(elements), down(elements);
          for (size_t e = 0; e < elements; ++e) {
            std::vector<float> above(in.begin(), in.end()), below = above;
            above[e] += static_cast<float>(h);
            below[e] -= static_cast<float>(h);
            world.score(above, a, up);
            world.score(below, a, down);
            out[e] = static_cast<float>(-std::sqrt(1 - a) * (up[e] - down[e]) /
                                        (double{above[e]} - below[e]) * along[n++]);
          }
        });
    return EpsilonProduct{model(x, t), product};
  };
}

std::vector<double> log_p_of(const Mixture& world, int levels, const Tensor& x) {
  std::vector<int64_t> index(static_cast<size_t>(x.dim(0)));
  std::iota(index.begin(), index.end(), 0);
  return log_likelihood(epsilon_of(world), kSchedule, likelihood_timesteps(kSchedule, levels), x,
                        rademacher_probe(x.shape(), 1, 0, index));
}

// What the flow makes of N(0, 1) where the images are N(m, v): it is linear in y.
double exact_log_p(double x, double m, double v) {
  const double a = kSchedule.alpha_bar(999), low = v + kLeastVariance;
  const double slope = std::sqrt((a * v + 1 - a) / low);
  const double latent = std::sqrt(a) * m + slope * (x - m);
  return -latent * latent / 2 - std::log(2 * M_PI) / 2 + std::log(slope);
}

TEST(Likelihood, OfGaussiansIsTheClosedForm) {
  const double m = 0.3, v = 0.16;
  const std::vector<float> x{-0.9f, 0.2f, 0.3f, 1.1f};
  for (const int levels : {100, 1000}) {
    const auto one =
        log_p_of(analytic::gaussian(m, std::sqrt(v), 1), levels, Tensor::from(x, {4, 1}));
    for (size_t i = 0; i < x.size(); ++i)
      EXPECT_NEAR(one[i], exact_log_p(x[i], m, v), levels == 100 ? 0.02 : 5e-4);
    // Four numbers of one image: their sum.
    const auto four =
        log_p_of(analytic::gaussian(m, std::sqrt(v), 4), levels, Tensor::from(x, {1, 4}));
    EXPECT_NEAR(four[0], one[0] + one[1] + one[2] + one[3], 1e-3);
  }
}

TEST(Likelihood, ErrorFallsWithTheSquareOfTheStep) {
  const Tensor x = Tensor::from(std::vector<float>{0.7f}, {1, 1});
  const auto error = [&](int levels) {
    return std::abs(log_p_of(analytic::gaussian(0.1, 0.5, 1), levels, x)[0] -
                    exact_log_p(0.7, 0.1, 0.25));
  };
  EXPECT_LT(error(80), error(20) / 6);
  EXPECT_LT(error(20), error(10) / 2.5);
}

TEST(Likelihood, OfAMixtureIsADensityAndTheRightOne) {
  const Mixture world{{{-0.6}, {0.5}}, {0.01}};
  const int64_t n = 400;
  std::vector<float> x;
  for (int64_t i = 0; i < n; ++i) x.push_back(-1.5f + 3.0f * static_cast<float>(i) / n);
  const auto log_p = log_p_of(world, 1000, Tensor::from(x, {n, 1}));
  double mass = 0;
  for (size_t i = 0; i < log_p.size(); ++i) {
    mass += std::exp(log_p[i]) * 3 / n;
    const double variance = 0.01 + kLeastVariance;
    double p = 0;
    for (const double centre : {-0.6, 0.5})
      p += std::exp(-std::pow(x[i] - centre, 2) / (2 * variance)) / std::sqrt(2 * M_PI * variance) /
           2;
    EXPECT_NEAR(std::exp(log_p[i]), p, 0.02 + 0.02 * p) << x[i];
  }
  EXPECT_NEAR(mass, 1, 2e-3);
}

TEST(Likelihood, DoesNotDependOnTheBatch) {
  const Mixture world = analytic::gaussian(0, 0.5, 3);
  const std::vector<float> x{.1f, .2f, .3f, -.4f, .5f, -.6f};
  const auto both = log_p_of(world, 50, Tensor::from(x, {2, 3}));
  const std::vector<int64_t> second{1};
  const Tensor alone = Tensor::from(std::vector<float>(x.begin() + 3, x.end()), {1, 3});
  const auto one = log_likelihood(epsilon_of(world), kSchedule, likelihood_timesteps(kSchedule, 50),
                                  alone, rademacher_probe({1, 3}, 1, 0, second));
  EXPECT_EQ(one[0], both[1]);
}

TEST(Likelihood, TimestepsReachBothEnds) {
  for (const int points : {2, 3, 50, 1000, 5000}) {
    const std::vector<int> t = likelihood_timesteps(kSchedule, points);
    EXPECT_EQ(t.front(), 0);
    EXPECT_EQ(t.back(), 999);
    EXPECT_LE(std::ssize(t), points);
    for (size_t i = 1; i < t.size(); ++i) EXPECT_GT(t[i], t[i - 1]);
  }
}

TEST(Likelihood, ProbesAndLevelsBelongToTheImage) {
  const std::vector<int64_t> index{5, 9}, swapped{9, 5}, nine{9};
  const auto probe = rademacher_probe({2, 500}, 3, 0, index).to_vector();
  EXPECT_EQ(rademacher_probe({1, 500}, 3, 0, nine).to_vector(),
            std::vector<float>(probe.begin() + 500, probe.end()));
  EXPECT_NE(rademacher_probe({2, 500}, 3, 1, index).to_vector(), probe);
  double sum = 0;
  for (const float v : probe) {
    EXPECT_EQ(std::abs(v), 1);
    sum += v;
  }
  EXPECT_LT(std::abs(sum), 150);  // 5 standard deviations

  std::vector<float> levels;
  for (int k = 0; k < 256; ++k) levels.push_back(static_cast<float>(k) / 127.5f - 1);
  const Tensor images = Tensor::from(levels, {2, 128});
  const auto spread = dequantise(images, 3, 0, index).to_vector();
  for (int k = 0; k < 256; ++k) {
    EXPECT_GE(spread[static_cast<size_t>(k)], static_cast<float>(k) / 128 - 1);
    EXPECT_LE(spread[static_cast<size_t>(k)], static_cast<float>(k + 1) / 128 - 1);
  }
  EXPECT_NE(dequantise(images, 3, 0, swapped).to_vector(), spread);
}

TEST(Likelihood, ImagesOfNoStructureTakeEightBits) {
  EXPECT_NEAR(bits_per_dimension(10 * std::log(0.5), 10), 8, 1e-12);
}

TEST(Likelihood, RefusesWhatDoesNotFit) {
  const auto epsilon = epsilon_of(analytic::gaussian(0, 1, 1));
  const std::vector<int> t{0, 999};
  EXPECT_THROW(log_likelihood(epsilon, kSchedule, t, Tensor::zeros({2, 1}), Tensor::zeros({1, 1})),
               Error);
  EXPECT_THROW(likelihood_timesteps(kSchedule, 1), Error);
  EXPECT_THROW(rademacher_probe({2, 1}, 0, 0, std::vector<int64_t>{1}), Error);
}

}  // namespace
}  // namespace diffscm
