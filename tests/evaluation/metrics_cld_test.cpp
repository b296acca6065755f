#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <random>

#include "evaluation/metrics/cld.h"
#include "tests/engine/io_testing.h"

namespace diffscm {
namespace {

using testing::expect_error;
using Doubles = std::vector<double>;

double normal_log_density(double x, double mean, double log_variance) {
  return -0.5 * (std::log(2 * std::numbers::pi) + log_variance +
                 (x - mean) * (x - mean) * std::exp(-log_variance));
}

// Trapezoids over mean_p +- 12 sigma_p: exponentially exact for such integrands.
double integrated_kl(double mean_p, double log_variance_p, double mean_q, double log_variance_q) {
  const double sigma = std::exp(0.5 * log_variance_p);
  const int steps = 4000;
  const double h = 24 * sigma / steps;
  double kl = 0;
  for (int i = 0; i <= steps; ++i) {
    const double x = mean_p - 12 * sigma + i * h;
    const double log_p = normal_log_density(x, mean_p, log_variance_p);
    kl += h * std::exp(log_p) * (log_p - normal_log_density(x, mean_q, log_variance_q));
  }
  return kl;
}

TEST(GaussianKl, EqualsNumericalIntegration) {
  std::mt19937 generator(1);
  std::normal_distribution<double> normal;
  for (int i = 0; i < 30; ++i) {
    const Doubles mp{normal(generator), normal(generator)}, vp{normal(generator), -3},
        mq{normal(generator), normal(generator)}, vq{normal(generator), 0.5};
    const double expected =
        integrated_kl(mp[0], vp[0], mq[0], vq[0]) + integrated_kl(mp[1], vp[1], mq[1], vq[1]);
    EXPECT_NEAR(gaussian_kl(mp, vp, mq, vq), expected, 1e-9 * std::max(1.0, expected));
  }
}

TEST(GaussianKl, ByHand) {
  const Doubles zero{0}, one{1}, two{2}, log4{std::log(4.0)};
  EXPECT_EQ(gaussian_kl(one, log4, one, log4), 0);
  EXPECT_DOUBLE_EQ(gaussian_kl(two, zero, zero, zero), 2);  // d^2 / 2
  EXPECT_DOUBLE_EQ(gaussian_kl(zero, log4, zero, zero), 0.5 * (4 - 1 - std::log(4.0)));
  EXPECT_DOUBLE_EQ(gaussian_kl(zero, zero, zero, log4), 0.5 * (0.25 - 1 + std::log(4.0)));
  // Nearly equal Gaussians: 1 - log would have lost every digit.
  const Doubles tiny{1e-9};
  EXPECT_NEAR(gaussian_kl(zero, tiny, zero, zero), 0.25e-18, 1e-21);
  expect_error([&] { gaussian_kl(zero, zero, Doubles{1, 2}, zero); }, "dimensions");
}

TEST(EmpiricalProbability, CountsTiesOnBothSides) {
  const Doubles sample{3, 1, 2, 2};
  EXPECT_EQ(share_at_most(sample, 2), 0.75);
  EXPECT_EQ(share_at_least(sample, 2), 0.75);
  EXPECT_EQ(share_at_most(sample, 0.5), 0);
  EXPECT_EQ(share_at_least(sample, 0.5), 1);
  EXPECT_EQ(share_at_most(sample, 3), 1);
  EXPECT_EQ(share_at_least(sample, 3), 0.25);
  expect_error([] { share_at_most({}, 1); }, "empty");
  expect_error([] { share_at_least({}, 1); }, "empty");
}

TEST(LatentDivergence, BoundsAndTheUnchangedImage) {
  EXPECT_DOUBLE_EQ(latent_divergence(0, 0), std::log(2.0));
  EXPECT_DOUBLE_EQ(latent_divergence(1, 1), 1 + std::log(2.0));
  EXPECT_NEAR(latent_divergence(0, 1), 1.3133, 5e-5);
  EXPECT_DOUBLE_EQ(latent_divergence(0, 1), std::log(1 + std::exp(1.0)));
}

class CldTest : public ::testing::Test {
 protected:
  CldTest() {
    config_.image_size = 4;
    config_.channels = {8};
    config_.latent = 3;
    dataset_.name = "squares";
    dataset_.height = dataset_.width = 4;
    dataset_.channels = 1;
    dataset_.classes = 2;
    for (int i = 0; i < 14; ++i) {
      dataset_.labels.push_back(i % 2);
      for (int p = 0; p < 16; ++p)
        dataset_.pixels.push_back(std::sin(static_cast<float>(i * 3 + p * (1 + i % 2))));
    }
  }
  VaeConfig config_;
  data::Dataset dataset_;
};

TEST_F(CldTest, AnUnchangedImageScoresLogOnePlusE) {
  Vae vae(config_, 3);
  const CldReference reference(vae, dataset_, 0, Target::cpu);
  EXPECT_EQ(reference.size(0), 7);
  const Gaussians x = posteriors(vae, dataset_.images(std::vector<int64_t>{0, 1, 2}));
  for (const Cld& c :
       reference.score(x, x, std::vector<int64_t>{0, 1, 0}, std::vector<int64_t>{1, 0, 1})) {
    EXPECT_EQ(c.divergence, 0);
    EXPECT_EQ(c.p_target, 0);
    EXPECT_EQ(c.p_factual, 1);
    EXPECT_DOUBLE_EQ(c.value, std::log(1 + std::exp(1.0)));
  }
}

// Against the definition, written out with the other image as first argument.
TEST_F(CldTest, FollowsTheDefinition) {
  Vae vae(config_, 3);
  const CldReference reference(vae, dataset_, 0, Target::cpu);
  const auto gaussian = [&](int64_t i) {
    return posteriors(vae, dataset_.images(std::vector<int64_t>{i}));
  };
  const auto d = [](const Gaussians& other, const Gaussians& factual) {
    return gaussian_kl(other.mean.values, other.log_variance.values, factual.mean.values,
                       factual.log_variance.values);
  };
  for (int64_t cf = 1; cf < 14; cf += 2) {
    const Gaussians factual = gaussian(4), other = gaussian(cf);
    const double div = d(other, factual);
    double below = 0, above = 0;
    for (int64_t i = 0; i < 14; i += 2) {
      below += d(gaussian(i + 1), factual) <= div;
      above += d(gaussian(i), factual) >= div;
    }
    const Cld c =
        reference.score(factual, other, std::vector<int64_t>{0}, std::vector<int64_t>{1})[0];
    EXPECT_DOUBLE_EQ(c.divergence, div);
    EXPECT_GE(c.p_target, 1.0 / 7) << "the counterfactual is in the set: a tie with itself";
    EXPECT_DOUBLE_EQ(c.value, std::log(std::exp(below / 7) + std::exp(above / 7)));
    EXPECT_GE(c.value, std::log(2.0));
    EXPECT_LE(c.value, 1 + std::log(2.0));
  }
}

TEST_F(CldTest, TakesTheFirstImagesOfEachClass) {
  Vae vae(config_, 3);
  const CldReference reference(vae, dataset_, 3, Target::cpu);
  EXPECT_EQ(reference.size(0), 3);
  EXPECT_EQ(reference.size(1), 3);
}

TEST_F(CldTest, RefusesWhatMakesNoSense) {
  Vae vae(config_, 3);
  const CldReference reference(vae, dataset_, 0, Target::cpu);
  const Gaussians x = posteriors(vae, dataset_.images(std::vector<int64_t>{0}));
  const std::vector<int64_t> zero{0}, two{2};
  expect_error([&] { reference.score(x, x, zero, two); }, "outside the 2 classes");
  expect_error([&] { reference.score(x, x, two, zero); }, "outside the 2 classes");
  expect_error([&] { reference.score(x, x, zero, {}); }, "0 target classes for 1 images");
  expect_error([&] { posteriors(vae, Tensor::zeros({1, 8, 8, 1})); }, "expects images [N,4,4,1]");
  data::Dataset lacking = dataset_;
  lacking.classes = 3;
  expect_error([&] { CldReference(vae, lacking, 0, Target::cpu); }, "no image of class 2");
  lacking.labels.clear();
  expect_error([&] { CldReference(vae, lacking, 0, Target::cpu); }, "no labels");
}

}  // namespace
}  // namespace diffscm
