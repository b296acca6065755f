#include "evaluation/scm/samples.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/error.h"

namespace diffscm {
namespace {

SampleRows normal_rows(size_t rows, size_t width, unsigned seed, double mean = 0) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(mean, 1);
  SampleRows x{{}, width};
  for (size_t i = 0; i < rows * width; ++i) x.numbers.push_back(normal(random));
  return x;
}

// By hand: X = {0, 1}, Y = {0, 2}. Squared distances [[0, 4], [1, 1]], upper triangle {0, 4, 1},
// median of the positive ones 2.5.
TEST(Mmd, IsThatOfDcm) {
  const double g = 1 / 2.5;
  const double xx = (2 + 2 * std::exp(-g)) / 4, yy = (2 + 2 * std::exp(-4 * g)) / 4,
               xy = (1 + std::exp(-4 * g) + 2 * std::exp(-g)) / 4;
  EXPECT_NEAR(mmd_squared({{0, 1}}, {{0, 2}}), xx + yy - 2 * xy, 1e-12);
}

TEST(Mmd, TellsDistributionsApart) {
  const double same = mmd_squared(normal_rows(300, 2, 1), normal_rows(300, 2, 2));
  EXPECT_GT(same, 0);
  EXPECT_LT(same, 0.012);  // the bias: (2 / 300)(1 - E k)
  EXPECT_GT(mmd_squared(normal_rows(300, 2, 1), normal_rows(300, 2, 2, 0.7)), 5 * same);
  EXPECT_EQ(mmd_squared({{1, 1}}, {{1}}), 0);
  EXPECT_THROW(mmd_squared({{1, 2}, 2}, {{1}, 1}), Error);
  EXPECT_THROW(mmd_squared({{}, 1}, {{1}, 1}), Error);
}

TEST(IndependenceTest, FindsWhatACorrelationCannotSee) {
  const SampleRows x = normal_rows(200, 1, 3), noise = normal_rows(200, 1, 4);
  SampleRows y = noise;
  for (size_t i = 0; i < 200; ++i) y.numbers[i] += x.numbers[i] * x.numbers[i];
  EXPECT_LT(independence_test(x, y, 99, 0).p_value, 0.02);
}

// Of independent pairs the p-value is uniform.
TEST(IndependenceTest, KeepsItsLevel) {
  int rejected = 0;
  double mean = 0;
  for (unsigned trial = 0; trial < 60; ++trial) {
    const double p = independence_test(normal_rows(50, 1, 2 * trial + 100),
                                       normal_rows(50, 1, 2 * trial + 101), 49, trial)
                         .p_value;
    rejected += p <= 0.1;
    mean += p / 60;
  }
  EXPECT_LE(rejected, 13);
  EXPECT_NEAR(mean, 0.5, 0.13);
}

TEST(Crps, OfDrawsIsTheDefinition) {
  const std::vector<double> draws{3, -1, 0.5};
  double to_truth = 0, between = 0;
  for (const double a : draws) {
    to_truth += std::abs(a - 1.2) / 3;
    for (const double b : draws) between += std::abs(a - b) / 9;
  }
  EXPECT_NEAR(crps(draws, 1.2), to_truth - between / 2, 1e-12);
  // Of N(0, 1) at 0: 2 phi(0) - 1 / sqrt(pi).
  EXPECT_NEAR(crps(normal_rows(20000, 1, 9).numbers, 0), 0.2337, 0.01);
}

TEST(Calibration, IsTheGapBetweenConfidenceAndTruth) {
  // Always 0.8 sure of state 1; right in 2 of 4.
  const SampleRows p{{.2, .8, .2, .8, .2, .8, .2, .8}, 2};
  EXPECT_NEAR(expected_calibration_error(p, std::vector<double>{1, 0, 1, 0}), 0.3, 1e-12);
  EXPECT_NEAR(expected_calibration_error(p, std::vector<double>{1, 1, 1, 1}), 0.2, 1e-12);
}

}  // namespace
}  // namespace diffscm
