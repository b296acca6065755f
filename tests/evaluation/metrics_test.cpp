// IM1 and IM2, effectiveness, fidelity, realism, truth, intervals: each against values by hand or
// closed forms.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "data/digits.h"
#include "evaluation/metrics/effectiveness.h"
#include "evaluation/metrics/fidelity.h"
#include "evaluation/metrics/interpretability.h"
#include "evaluation/metrics/interval.h"
#include "evaluation/metrics/realism.h"
#include "evaluation/metrics/truth.h"
#include "tests/engine/io_testing.h"

namespace diffscm {
namespace {

using testing::expect_error;
using Doubles = std::vector<double>;
using Labels = std::vector<int64_t>;

Tensor images(std::vector<float> values, int64_t n) {
  return Tensor::from(values, {n, 1, static_cast<int64_t>(values.size()) / n, 1});
}

TEST(Interpretability, ByHand) {
  const Doubles u{1, 0}, target{0.5, 0}, factual{0, 0}, all{0.5, 0.5};
  const Interpretability m = interpretability(u, target, factual, all);
  EXPECT_DOUBLE_EQ(m.im1, 0.125 / (0.5 + 1e-7));
  EXPECT_DOUBLE_EQ(m.im2, 0.125 / (0.5 + 1e-7));
  // A black image and a perfect reconstruction: the guards keep both finite.
  const Doubles black{0, 0};
  EXPECT_DOUBLE_EQ(interpretability(black, all, black, black).im1, 0.25 / 1e-7);
  EXPECT_DOUBLE_EQ(interpretability(black, all, black, black).im2, 0.25 / 1e-7);
  expect_error([&] { interpretability(u, Doubles{1}, factual, all); }, "2 and 1 pixels");
}

TEST(Interpretability, UsesTheNetworksOfBothClassesInTheUnitRange) {
  const Autoencoders networks({.image_size = 8, .in_channels = 1, .classes = 3}, 5);
  std::vector<float> pixels(3 * 64);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = std::sin(static_cast<float>(i));
  const Tensor x = Tensor::from(pixels, {3, 8, 8, 1});
  const Labels from{0, 1, 2}, to{2, 0, 2};
  const auto m = interpretability(networks, x, from, to);
  for (int64_t i = 0; i < 3; ++i) {
    const Tensor u = to_unit_range(x.slice(i, i + 1));
    EXPECT_FLOAT_EQ(u.to_vector()[5], 0.5f * (pixels[static_cast<size_t>(i * 64 + 5)] + 1));
    const auto of = [&](const Autoencoder& a) { return to_matrix(a.forward(u).value()).values; };
    const size_t k = static_cast<size_t>(i);
    const Interpretability expected =
        interpretability(to_matrix(u).values, of(networks.of_class(to[k])),
                         of(networks.of_class(from[k])), of(networks.of_all()));
    EXPECT_NEAR(m[k].im1, expected.im1, 1e-6);
    EXPECT_NEAR(m[k].im2, expected.im2, 1e-6);
  }
  EXPECT_NEAR(m[2].im1, 1, 1e-4) << "the same class twice";
  expect_error([&] { interpretability(networks, x, from, Labels{0, 3, 0}); }, "3 is outside the 3");
  expect_error([&] { interpretability(networks, x, from, Labels{0}); }, "1 target classes");
  expect_error(
      [&] {
        interpretability(networks, Tensor::zeros({1, 4, 4, 1}), Labels{0}, Labels{0});
      },
      "expect images");
}

TEST(EffectivenessOf, ByHand) {
  const ClassProbabilities p{{0.25f, 0.75f}, {0.5f, 0.5f}};
  const auto e = effectiveness(p, Labels{1, 1});
  EXPECT_TRUE(e[0].flip);
  EXPECT_EQ(e[0].predicted, 1);
  EXPECT_DOUBLE_EQ(e[0].p_target, 0.75);
  EXPECT_FALSE(e[1].flip) << "of equals, the first";
  EXPECT_EQ(e[1].predicted, 0);
  EXPECT_TRUE(adversarial(/*oracle=*/e[1], /*guide=*/e[0]));
  EXPECT_FALSE(adversarial(e[0], e[0]));
  EXPECT_FALSE(adversarial(e[0], e[1]));
  expect_error([&] { effectiveness(p, Labels{1, 2}); }, "2 is outside the 2");
  expect_error([&] { effectiveness(p, Labels{1}); }, "1 target classes for 2");
  expect_error([&] { effectiveness({{0.5f, NAN}}, Labels{0}); }, "nan");
  expect_error([&] { effectiveness({{1, 0}, {1}}, Labels{0, 0}); }, "1 probabilities for image 1");
  expect_error([&] { effectiveness({}, {}); }, "no image");
}

TEST(Distances, ByHand) {
  const Tensor a = images({-1, 0, 1, 0.5f}, 2), b = images({1, 0, 0.9f, 0.5f}, 2);
  const Doubles l1 = l1_distance(a, b), l0 = l0_distance(a, b);
  EXPECT_DOUBLE_EQ(l1[0], 127.5);  // 255 in one pixel of two
  EXPECT_NEAR(l1[1], 6.375, 1e-5);
  EXPECT_DOUBLE_EQ(l0[0], 0.5);
  EXPECT_DOUBLE_EQ(l0[1], 0.5);  // 12.75 grey levels
  EXPECT_DOUBLE_EQ(l0_distance(a, b, 13)[1], 0);
  EXPECT_DOUBLE_EQ(l0_distance(a, a, 0)[0], 0) << "an equal pixel has not changed";
  expect_error([&] { l1_distance(a, images({1, 2}, 1)); }, "cannot be compared");
  expect_error(
      [&] {
        l1_distance(a, images({1, 0, 1, NAN}, 2));
      },
      "image 1 holds nan at element 1");
  expect_error([&] { l1_distance({}, a); }, "empty");
  expect_error([&] { l0_distance(a, b, -1); }, "must not be negative");
}

TEST(Composition, CountsCyclesFromTheFactual) {
  const Tensor x = images({0, 0, 0.5f, 0.5f}, 2);
  int calls = 0;
  const NullIntervention drift = [&](const Tensor& y) {
    ++calls;
    std::vector<float> v = y.to_vector();
    for (float& p : v) p += 0.02f;
    return Tensor::from(v, y.shape());
  };
  const std::vector<int> cycles{1, 10};
  const auto d = composition(drift, x, cycles);
  EXPECT_EQ(calls, 10);
  EXPECT_NEAR(d[0][0], 2.55, 1e-4);
  EXPECT_NEAR(d[1][1], 25.5, 1e-3);
  const std::vector<int> wrong{2, 2};
  expect_error([&] { composition(drift, x, wrong); }, "ascending");
}

TEST(Reversibility, IntervenesAndGoesBack) {
  const Tensor x = images({0, 0, 0.5f, 0.5f}, 2);
  std::vector<Labels> asked;
  const ClassIntervention add_class = [&](const Tensor& y, std::span<const int64_t> targets) {
    asked.emplace_back(targets.begin(), targets.end());
    std::vector<float> v = y.to_vector();
    for (size_t i = 0; i < v.size(); ++i) v[i] += 0.1f * static_cast<float>(targets[i / 2]);
    return Tensor::from(v, y.shape());
  };
  const Doubles d = reversibility(add_class, x, add_class(x, Labels{2, 0}), Labels{0, 1});
  EXPECT_EQ(asked, (std::vector<Labels>{{2, 0}, {0, 1}}));
  EXPECT_NEAR(d[0], 25.5, 1e-4);
  EXPECT_NEAR(d[1], 12.75, 1e-4);
}

TEST(Composition, OfWhatComesBackAsNoImageIsNotANumber) {
  const Tensor x = images({0, 0, 0.5f, 0.5f}, 2);
  const auto spoil = [](const Tensor& y) {
    std::vector<float> v = y.to_vector();
    v[3] = NAN;
    return Tensor::from(v, y.shape());
  };
  const std::vector<double> once = composition(spoil, x, std::vector<int>{1})[0];
  EXPECT_EQ(once[0], 0);
  EXPECT_TRUE(std::isnan(once[1]));
  const Doubles back = reversibility(
      [&](const Tensor& y, std::span<const int64_t>) { return spoil(y); }, x, x, Labels{0, 1});
  EXPECT_EQ(back[0], 0);
  EXPECT_TRUE(std::isnan(back[1]));
}

Matrix random_rows(int64_t rows, int64_t columns, uint32_t seed, double shift = 0) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  Matrix m(rows, columns);
  for (double& v : m.values) v = normal(generator) + shift;
  return m;
}

TEST(SymmetricEigen, RebuildsTheMatrix) {
  for (const int64_t n : {1, 2, 5, 40}) {
    const Matrix r = random_rows(n, n, 3);
    Matrix a(n, n);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) a.at(i, j) = r.at(i, j) + r.at(j, i);
    const auto e = symmetric_eigen(a);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double rebuilt = 0, identity = 0;
        for (int64_t k = 0; k < n; ++k) {
          rebuilt += e.vectors.at(i, k) * e.values[static_cast<size_t>(k)] * e.vectors.at(j, k);
          identity += e.vectors.at(k, i) * e.vectors.at(k, j);
        }
        EXPECT_NEAR(rebuilt, a.at(i, j), 1e-11);
        EXPECT_NEAR(identity, i == j ? 1 : 0, 1e-12);
      }
    }
  }
}

TEST(FrechetDistance, ClosedFormOfCommutingCovariances) {
  // Rotated by the same orthogonal matrix, C_a and C_b commute:
  // d^2 = |m_a - m_b|^2 + sum (sqrt(a_i) - sqrt(b_i))^2.
  const double c = std::cos(0.7), s = std::sin(0.7);
  const auto rotated = [&](double x, double y) {
    Matrix m(2, 2);
    m.at(0, 0) = c * c * x + s * s * y;
    m.at(1, 1) = s * s * x + c * c * y;
    m.at(0, 1) = m.at(1, 0) = c * s * (x - y);
    return m;
  };
  const Moments a{{1, 2}, rotated(4, 9)}, b{{3, 1}, rotated(1, 25)};
  EXPECT_NEAR(frechet_distance(a, b), 5 + 1 + 4, 1e-12);
  EXPECT_NEAR(frechet_distance(b, a), 10, 1e-12);
  const Moments flat{{1, 2}, rotated(0, 9)};  // no variance in one direction
  EXPECT_NEAR(frechet_distance(a, flat), 4, 1e-7);
}

TEST(FrechetDistance, ClosedFormOfTwoByTwo) {
  // tr (C_a^1/2 C_b C_a^1/2)^1/2 = sqrt(tr(C_a C_b) + 2 sqrt(det(C_a C_b))) in two dimensions.
  Matrix ca(2, 2), cb(2, 2);
  ca.values = {2, 0.5, 0.5, 1};
  cb.values = {1, -0.3, -0.3, 3};
  const double trace = 2 * 1 + 2 * 0.5 * -0.3 + 1 * 3;
  const double det = (2 - 0.25) * (3 - 0.09);
  EXPECT_NEAR(frechet_distance({{0, 0}, ca}, {{0, 0}, cb}),
              3 + 4 - 2 * std::sqrt(trace + 2 * std::sqrt(det)), 1e-12);
}

TEST(FrechetDistance, OfSets) {
  const Matrix a = random_rows(500, 6, 1);
  EXPECT_NEAR(frechet_distance(a, a), 0, 1e-9);
  Matrix shifted = a;
  for (double& v : shifted.values) v += 2;
  EXPECT_NEAR(frechet_distance(a, shifted), 6 * 4, 1e-9);
  const Moments m = moments(a);
  EXPECT_NEAR(m.covariance.at(2, 2), 1, 0.2);
  expect_error([&] { frechet_distance(a, random_rows(1, 6, 2)); }, "at least 2 images");
  expect_error([&] { frechet_distance(a, random_rows(9, 5, 2)); }, "6 and 5 features");
  shifted.values[7] = NAN;
  expect_error([&] { frechet_distance(a, shifted); }, "nan");
}

TEST(KernelMmd, ByHand) {
  // One feature: k(x, y) = (xy + 1)^3. a = {0, 1}: k(0,1) = 1. b = {1, 2}: k(1,2) = 27.
  // Between: k(0,1) = k(0,2) = 1, k(1,1) = 8, k(1,2) = 27: mean 37/4.
  Matrix a(2, 1), b(2, 1);
  a.values = {0, 1};
  b.values = {1, 2};
  EXPECT_DOUBLE_EQ(kernel_mmd(a, b), 1 + 27 - 2 * 37.0 / 4);
  Matrix features(2, 2);
  features.values = {3, 1, 3, 1};  // root mean square sqrt(5)
  EXPECT_DOUBLE_EQ(unit_scale(features), 1 / std::sqrt(5.0));
  EXPECT_DOUBLE_EQ(unit_scale(scaled(features, unit_scale(features))), 1);
  expect_error([&] { unit_scale(Matrix(2, 2)); }, "all 0");
  expect_error([&] { kernel_mmd(a, Matrix(1, 1)); }, "at least 2 images");
}

TEST(KernelMmd, IsUnbiased) {
  Doubles estimates;
  for (uint32_t seed = 0; seed < 300; ++seed)
    estimates.push_back(kernel_mmd(random_rows(20, 4, 2 * seed), random_rows(20, 4, 2 * seed + 1)));
  const MeanInterval m = mean_with_interval(estimates);
  // With each row's kernel with itself in the sums, the mean would be above 0.5.
  EXPECT_LT(m.half_width, 0.1);
  EXPECT_NEAR(m.mean, 0, 2 * m.half_width);
  EXPECT_GT(kernel_mmd(random_rows(50, 4, 1), random_rows(50, 4, 2, 1.0)), 1);
}

TEST(TrueCounterfactuals, KeepTheNoise) {
  const Labels index{0, 3};
  const data::Dataset digits = data::load_digits(data::Split::test, 7);
  const auto set = [](int64_t a, int64_t b) {
    return std::vector<data::Assignment>{{{"digit", static_cast<double>(a)}},
                                         {{"digit", static_cast<double>(b)}}};
  };
  const Tensor same = true_counterfactuals(digits, index, set(digits.labels[0], digits.labels[3]));
  EXPECT_LT(l1_distance(same, digits.images(index))[0], 1e-6)
      << "do(digit = its own) changes nothing";
  EXPECT_LT(l1_distance(same, digits.images(index))[1], 1e-6);
  const auto other = set((digits.labels[0] + 1) % 10, (digits.labels[3] + 1) % 10);
  EXPECT_GT(l1_distance(same, true_counterfactuals(digits, index, other))[0], 5);
  expect_error([&] { true_counterfactuals(digits, Labels{0, 2000}, other); }, "no test image 2000");
  expect_error([&] { true_counterfactuals(digits, index, set(10, 0)); }, "digit");
  expect_error([&] { true_counterfactuals(digits, Labels{0}, other); },
               "2 interventions for 1 images");
  data::Dataset unknown = digits;
  unknown.world = nullptr;
  expect_error([&] { true_counterfactuals(unknown, index, other); }, "digits are not known");
}

TEST(StudentQuantile, MatchesTables) {
  EXPECT_NEAR(student_t975(1), 12.7062, 1e-3);
  EXPECT_NEAR(student_t975(2), 4.30265, 1e-5);
  EXPECT_NEAR(student_t975(5), 2.57058, 1e-5);
  EXPECT_NEAR(student_t975(10), 2.22814, 1e-5);
  EXPECT_NEAR(student_t975(99), 1.98422, 1e-5);
  EXPECT_NEAR(student_t975(100000), 1.95999, 1e-4);
  expect_error([] { student_t975(0); }, "at least 1");
}

TEST(MeanWithInterval, ByHand) {
  const Doubles v{1, 2, NAN, 3};
  const MeanInterval m = mean_with_interval(v);
  EXPECT_EQ(m.count, 3);
  EXPECT_DOUBLE_EQ(m.mean, 2);
  EXPECT_NEAR(m.half_width, 4.30265 / std::sqrt(3.0), 1e-5);
  EXPECT_TRUE(std::isnan(mean_with_interval(Doubles{4}).half_width));
  EXPECT_TRUE(std::isnan(mean_with_interval({}).mean));
}

}  // namespace
}  // namespace diffscm
