// The classical baselines on classifiers and autoencoders small enough to work out by hand.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/functions.h"
#include "evaluation/baselines/greedy.h"
#include "evaluation/baselines/prototype.h"
#include "evaluation/baselines/sampling.h"
#include "kernels/error.h"
#include "tests/diffusion/analytic.h"

namespace diffscm::baselines {
namespace {

// Images of four pixels [N,2,2,1].
constexpr int64_t kPixels = 4;

Tensor images(const std::vector<float>& values) {
  return Tensor::from(values, {static_cast<int64_t>(values.size()) / kPixels, 2, 2, 1});
}

// logits = x W^T, W [2, 4].
ImageFunction linear_classifier(std::vector<float> weight) {
  const Tensor w = Tensor::from(weight, {2, kPixels});
  return [w](const Variable& x) { return linear(reshape(x, {x.dim(0), kPixels}), w, {}); };
}

ImageFunction identity() {
  return [](const Variable& x) { return reshape(x, x.shape()); };
}

TEST(Greedy, MovesTheMostInfluentialPixelsAndNoOther) {
  // Class 1 gains 3 per unit of pixel 2 and 1 per unit of pixel 0.
  const ImageFunction logits = linear_classifier({0, 0, 0, 0, 1, 0, 3, 0});
  const std::vector<int64_t> target{1};
  const Explanation e =
      greedy(logits, images({-1, 0, -1, 0}), target, {.changes = 4, .confidence = 0.8});
  // Steps of 0.5 on pixel 2: its logit goes -4, -2.5, -1, 0.5, 2 and sigmoid(2) = 0.88 is enough.
  EXPECT_EQ(e.image.to_vector(), (std::vector<float>{-1, 0, 1, 0}));
  EXPECT_EQ(e.found[0], 1);
  EXPECT_EQ(e.iterations[0], 5);
}

TEST(Greedy, GoesOnToTheNextPixelWhenOneIsSpent) {
  const ImageFunction logits = linear_classifier({0, 0, 0, 0, 1, 0, 3, 0});
  const std::vector<int64_t> target{1};
  const Explanation e =
      greedy(logits, images({-1, 0, -1, 0}), target, {.changes = 4, .confidence = 0.95});
  // Pixel 2 is at its bound (logit 2); two steps of pixel 0 reach sigmoid(3) = 0.953.
  EXPECT_EQ(e.image.to_vector(), (std::vector<float>{0, 0, 1, 0}));
  EXPECT_EQ(e.found[0], 1);
}

TEST(Greedy, ReportsWhatItCannotReach) {
  const ImageFunction logits = linear_classifier({0, 0, 0, 0, 0.1f, 0, 0, 0});
  const std::vector<int64_t> target{1};
  const Explanation e = greedy(logits, images({0, 0, 0, 0}), target, {});
  EXPECT_EQ(e.found[0], 0);
  EXPECT_EQ(e.image.to_vector(), (std::vector<float>{1, 0, 0, 0}));  // as far as it goes
}

TEST(Greedy, AnImageDoesNotDependOnItsBatch) {
  const ImageFunction logits = linear_classifier({1, -2, 0.5f, 0, -1, 1, 3, 0.2f});
  const std::vector<float> first{0.3f, -0.2f, -0.9f, 0.1f}, second{-0.5f, 0.8f, -0.1f, 0.9f};
  std::vector<float> both = first;
  both.insert(both.end(), second.begin(), second.end());
  const Explanation together = greedy(logits, images(both), std::vector<int64_t>{1, 0}, {});
  const Explanation alone = greedy(logits, images(second), std::vector<int64_t>{0}, {});
  EXPECT_EQ(together.image.slice(1, 2).to_vector(), alone.image.to_vector());
  EXPECT_EQ(together.iterations[1], alone.iterations[0]);
}

TEST(Greedy, RejectsBadInput) {
  const ImageFunction logits = linear_classifier({0, 0, 0, 0, 1, 0, 3, 0});
  const Tensor x = images({0, 0, 0, 0});
  EXPECT_THROW(greedy(logits, x, std::vector<int64_t>{2}, {}), Error);
  EXPECT_THROW(greedy(logits, x, std::vector<int64_t>{1, 1}, {}), Error);
  EXPECT_THROW(greedy(logits, x, std::vector<int64_t>{1}, {.changes = 0}), Error);
  EXPECT_THROW(greedy(logits, x, std::vector<int64_t>{1}, {.confidence = 1}), Error);
}

PrototypeNetworks networks(std::vector<float> classifier, std::vector<float> prototypes) {
  return {linear_classifier(std::move(classifier)), identity(), identity(),
          Tensor::from(prototypes, {2, kPixels})};
}

// With c = beta = gamma = 0 the objective is |u - u0|^2 + theta |u - prototype|^2.
TEST(Prototype, QuadraticObjectiveHasItsMinimum) {
  const PrototypeNetworks n =
      networks({0, 0, 0, 0, 8, 0, 0, 0}, {0, 0, 0, 0, 0.9f, 0.5f, 0.2f, 0.7f});
  const Explanation e = prototype_guided(
      n, images({0.2f, 0, 0, 0}), std::vector<int64_t>{1},
      {.c = 0, .c_steps = 1, .beta = 0, .gamma = 0, .theta = 3, .iterations = 2000});
  // The cheapest iterate the classifier accepts is the start itself: u0 = 0.6 is class 1 already.
  EXPECT_EQ(e.found[0], 1);
  const std::vector<float> x = e.image.to_vector();
  for (size_t i = 0; i < x.size(); ++i) EXPECT_LE(std::abs(x[i] - (i == 0 ? 0.2f : 0.0f)), 0.05f);

  // When nothing is ever accepted, the last iterate is the answer: the minimum, (u0 + 3 p) / 4.
  const PrototypeNetworks never =
      networks({8, 8, 8, 8, 0, 0, 0, 0}, {0, 0, 0, 0, 0.9f, 0.5f, 0.2f, 0.7f});
  const Explanation last = prototype_guided(
      never, images({0.2f, 0, 0.4f, 0}), std::vector<int64_t>{1},
      {.c = 0, .c_steps = 1, .beta = 0, .gamma = 0, .theta = 3, .iterations = 2000});
  EXPECT_EQ(last.found[0], 0);
  const double u0[] = {0.6, 0.5, 0.7, 0.5}, p[] = {0.9, 0.5, 0.2, 0.7};
  const std::vector<float> y = last.image.to_vector();
  for (size_t i = 0; i < y.size(); ++i)
    EXPECT_NEAR(0.5 * (y[i] + 1), (u0[i] + 3 * p[i]) / 4, 1e-4) << i;
}

// Shrinkage leaves pixels alone that the classifier does not look at.
TEST(Prototype, ChangesOnlyWhatMattersWhenL1Acts) {
  const PrototypeNetworks n = networks({0, 0, 0, 0, 0, 6, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0});
  const Explanation e =
      prototype_guided(n, images({0.3f, -0.4f, 0.1f, -0.7f}), std::vector<int64_t>{1},
                       {.c = 2, .c_steps = 3, .beta = 0.05, .gamma = 0, .theta = 0});
  ASSERT_EQ(e.found[0], 1);
  const std::vector<float> x = e.image.to_vector();
  EXPECT_GT(x[1], 0);  // the decision boundary is at 0
  EXPECT_LT(x[1], 0.3f);
  EXPECT_NEAR(x[0], 0.3f, 1e-6);
  EXPECT_NEAR(x[2], 0.1f, 1e-6);
  EXPECT_NEAR(x[3], -0.7f, 1e-6);
}

TEST(Prototype, ClassPrototypesAreMeansOfTheFirstImages) {
  data::Dataset d;
  d.name = "four";
  d.height = d.width = d.classes = 2;
  d.channels = 1;
  d.pixels = {1, 1, 1, 1, -1, -1, -1, -1, 0, 0, 0, 0, 1, 0, -1, 0};
  d.labels = {0, 1, 0, 0};
  const std::vector<float> p = class_prototypes(identity(), d, 2, Target::cpu).to_vector();
  EXPECT_EQ(p, (std::vector<float>{0.75f, 0.75f, 0.75f, 0.75f, 0, 0, 0, 0}));  // in [0, 1]
  d.labels = {0, 0, 0, 0};
  EXPECT_THROW(class_prototypes(identity(), d, 2, Target::cpu), Error);
}

TEST(Prototype, RejectsBadInput) {
  const PrototypeNetworks n = networks({0, 0, 0, 0, 8, 0, 0, 0}, {0, 0, 0, 0, 1, 1, 1, 1});
  const Tensor x = images({0, 0, 0, 0});
  EXPECT_THROW(prototype_guided(n, x, std::vector<int64_t>{2}, {}), Error);
  EXPECT_THROW(prototype_guided(n, x, std::vector<int64_t>{1}, {.beta = -1}), Error);
  EXPECT_THROW(prototype_guided(n, x, std::vector<int64_t>{1}, {.iterations = 0}), Error);
}

// Data are N(m, d^2) with m = 0.5, d = 0.1. Diffused to level L they are N(sqrt(a) m, a d^2 + 1 -
// a), and the deterministic way back keeps each pixel's number of deviations from the mean.
TEST(Sdedit, IsTheFlowFromTheDiffusedImage) {
  const NoiseSchedule schedule(ScheduleKind::linear, 1000);
  const Chain chain(schedule, 100);
  const double m = 0.5, d = 0.1;
  const EpsilonModel epsilon = analytic::epsilon_of(analytic::gaussian(m, d, 4), schedule);
  const Tensor x = images({0.45f, 0.5f, 0.6f, 0.4f, 0.55f, 0.5f, 0.45f, 0.5f});
  const std::vector<int64_t> index{7, 9};
  const auto edit = [&](int levels) {
    return sdedit(epsilon, {}, chain, levels, x, {.seed = 3}, index);
  };
  const std::vector<float> pixels = x.to_vector(),
                           noise = initial_noise(x.shape(), index, 3).to_vector();
  for (const int levels : {1, 10, 40, 100}) {
    const double a = chain.alpha_bar(levels);
    std::vector<float> expected;
    for (size_t i = 0; i < pixels.size(); ++i) {
      const double deviations = (std::sqrt(a) * (pixels[i] - m) + std::sqrt(1 - a) * noise[i]) /
                                std::sqrt(a * d * d + 1 - a);
      expected.push_back(static_cast<float>(m + d * deviations));
    }
    EXPECT_LT(analytic::worst_grey_levels(edit(levels), images(expected)), 1) << levels;
  }
  const Tensor alone =
      sdedit(epsilon, {}, chain, 40, x.slice(1, 2), {.seed = 3}, std::vector<int64_t>{9});
  EXPECT_EQ(alone.to_vector(), edit(40).slice(1, 2).to_vector());
  EXPECT_THROW(edit(0), Error);
  EXPECT_THROW(edit(101), Error);
}

}  // namespace
}  // namespace diffscm::baselines
