#include "training/gradient_matching.h"

#include <gtest/gtest.h>

#include <cmath>

#include "diffusion/batch.h"
#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

using testing::dot;

DiffusionModel tiny_teacher(std::string condition) {
  UNetConfig config = testing::tiny_unet_config();
  config.conditions = {{.name = std::move(condition), .classes = 4}};
  LoadedModel<UNet> loaded{UNet(config, 1), {}};
  testing::randomise(loaded.model);
  loaded.info.path = "teacher";
  loaded.info.diffusion = {{"schedule", "linear"}, {"timesteps", 1000}, {"sampling_steps", 10}};
  return DiffusionModel(std::move(loaded), Target::cpu, 0);
}

Classifier tiny_classifier() {
  ClassifierConfig config = testing::tiny_classifier_config();
  config.classes = 4;
  Classifier classifier(config, 2);
  testing::randomise(classifier, 3);
  testing::want_gradients(classifier);
  return classifier;
}

// Levels where both the gradient and what it should be are of some size.
NoisyBatch three_images() {
  NoisyBatch b;
  b.timesteps = {300, 500, 700};
  b.labels = {0, 3, 1};
  b.label = Tensor::from(b.labels, {3});
  b.t = Tensor::from(std::vector<float>{300, 500, 700}, {3});
  b.x_t = testing::random_tensor({3, 8, 8, 1}, 4);
  return b;
}

class GradientMatchingTest : public ::testing::Test {
 protected:
  // sigma^2 |grad log p - v|^2 of each image, from its definition.
  std::vector<double> mismatch(const Classifier& classifier, const Tensor& target) const {
    const Tensor g = classifier.log_p_gradient(images_.x_t, images_.t, target);
    std::vector<data::Assignment> parents;
    const auto* wanted = target.data<int64_t>();
    for (int64_t i = 0; i < 3; ++i) parents.push_back({{"digit", static_cast<double>(wanted[i])}});
    const Tensor implied = combine(1, teacher_.epsilon()(images_.x_t, images_.t), -1,
                                   teacher_.epsilon(parents)(images_.x_t, images_.t));
    std::vector<double> result;
    const std::vector<float> a = g.to_vector(), b = implied.to_vector();
    for (size_t i = 0; i < 3; ++i) {
      const double sigma = std::sqrt(1 - teacher_.schedule().alpha_bar(images_.timesteps[i]));
      double sum = 0;
      for (size_t e = i * 64; e < (i + 1) * 64; ++e) sum += std::pow(sigma * a[e] - b[e], 2);
      result.push_back(sum);
    }
    return result;
  }

  // The gradient of the batch's summed loss with respect to all weights.
  std::vector<float> weight_gradient(Classifier& classifier, double weight) const {
    GradientMatching matching(teacher_, "digit", weight, /*seed=*/5);
    ForwardContext context;
    const Variable loss =
        matching.loss(classifier, matching.batch(classifier, images_, /*step=*/0), context);
    backward(loss, Tensor::constant({3}, 1, Target::cpu));
    std::vector<float> all;
    for (Variable* v : variables(classifier)) {
      const std::vector<float> g = v->gradient().to_vector();
      all.insert(all.end(), g.begin(), g.end());
      v->clear_gradient();
    }
    return all;
  }

  DiffusionModel teacher_ = tiny_teacher("digit");
  NoisyBatch images_ = three_images();
};

TEST_F(GradientMatchingTest, TheLossIsCrossEntropyAndMismatch) {
  Classifier classifier = tiny_classifier();
  constexpr double kWeight = 50;
  GradientMatching matching(teacher_, "digit", kWeight, 5);
  const TrainingBatch batch = matching.batch(classifier, images_, 0);
  ForwardContext context;
  const std::vector<float> loss = matching.loss(classifier, batch, context).value().to_vector();
  const std::vector<float> log_p =
      log_softmax_at(classifier.forward(images_.x_t, images_.t, context), images_.label)
          .value()
          .to_vector();
  const std::vector<double> expected = mismatch(classifier, batch[4]);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_GT(kWeight * expected[i], 0.1) << "says nothing";
    EXPECT_NEAR(loss[i], -log_p[i] + kWeight * expected[i], 0.01 * loss[i]);
  }
}

// Against the change of the mismatch itself when the weights move a little along a direction.
TEST_F(GradientMatchingTest, TheDifferenceGivesTheDerivativeOfTheMismatch) {
  Classifier classifier = tiny_classifier();
  const std::vector<float> with = weight_gradient(classifier, 3),
                           less = weight_gradient(classifier, 1);
  std::vector<float> slope(with.size());
  for (size_t i = 0; i < slope.size(); ++i) slope[i] = (with[i] - less[i]) / 2;

  GradientMatching matching(teacher_, "digit", 1, 5);
  const Tensor target = matching.batch(classifier, images_, 0)[4];
  const double length = std::sqrt(dot(slope, slope));
  ASSERT_GT(length, 1e-3);
  constexpr double kMove = 0.005;
  const auto moved = [&](double by) {
    Classifier there = tiny_classifier();
    size_t at = 0;
    for (Variable* v : variables(there)) {
      std::vector<float> values = v->value().to_vector();
      for (float& x : values) x += static_cast<float>(by / length * slope[at++]);
      *v = Variable(Tensor::from(values, v->shape()));
    }
    double sum = 0;
    for (const double m : mismatch(there, target)) sum += m;
    return sum;
  };
  const double measured = (moved(kMove) - moved(-kMove)) / (2 * kMove);
  EXPECT_NEAR(measured, length, 0.03 * length);
}

// What the networks are asked at a time is what memory allows, and changes nothing.
TEST_F(GradientMatchingTest, ABatchMayBeMadeInParts) {
  Classifier classifier = tiny_classifier();
  const TrainingBatch whole =
                          GradientMatching(teacher_, "digit", 1, 5).batch(classifier, images_, 0),
                      parts = GradientMatching(teacher_, "digit", 1, 5, /*at_a_time=*/2)
                                  .batch(classifier, images_, 0);
  for (const size_t tensor : {0, 1, 5}) {
    const std::vector<float> a = whole[tensor].to_vector(), b = parts[tensor].to_vector();
    for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-4) << tensor;
  }
}

TEST_F(GradientMatchingTest, ATeacherMustKnowTheClass) {
  EXPECT_THROW(GradientMatching(tiny_teacher("height"), "digit", 1, 0), Error);
}

}  // namespace
}  // namespace diffscm
