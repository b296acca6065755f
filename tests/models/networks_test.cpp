#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "autograd/adamw.h"
#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

using testing::dot;
using testing::random_tensor;
using testing::randomise;
using testing::tiny_classifier_config;
using testing::tiny_unet_config;
using Floats = std::vector<float>;

UNetConfig paper_config() {
  UNetConfig c;
  c.model_channels = 64;
  c.channel_mult = {1, 2, 4};
  return c;
}

Tensor timesteps(std::vector<float> t) {
  const auto n = static_cast<int64_t>(t.size());
  return Tensor::from(t, {n});
}

template <class Model>
std::map<std::string, Shape> file_shapes(Model& model) {
  std::map<std::string, Shape> shapes;
  for (const auto& [name, tensor] : state_dict(model)) shapes.emplace(name, tensor.shape());
  return shapes;
}

void expect_shapes(const std::map<std::string, Shape>& actual,
                   const std::vector<std::pair<std::string, Shape>>& expected) {
  for (const auto& [name, shape] : expected) {
    const auto found = actual.find(name);
    if (found == actual.end())
      ADD_FAILURE() << "no parameter " << name;
    else
      EXPECT_EQ(found->second, shape) << name;
  }
}

TEST(ParameterCounts, AreThoseOfDiffScm) {
  UNet fast(UNetConfig{}, 0), paper(paper_config(), 0);
  Classifier classifier(ClassifierConfig{}, 0);
  EXPECT_EQ(parameter_count(fast), 1'140'929);
  EXPECT_EQ(parameter_count(paper), 10'601'473);
  EXPECT_EQ(parameter_count(classifier), 1'936'330);
}

TEST(ParameterCounts, AreNeverBelowTheBoundThatLoadingChecks) {
  for (UNetConfig c : {UNetConfig{}, paper_config(), tiny_unet_config()}) {
    UNet unet(c, 0);
    EXPECT_LE(least_parameters(c), parameter_count(unet));
    EXPECT_GT(10 * least_parameters(c), parameter_count(unet));
  }
  for (ClassifierConfig c : {ClassifierConfig{}, tiny_classifier_config()}) {
    Classifier classifier(c, 0);
    EXPECT_LE(least_parameters(c), parameter_count(classifier));
    EXPECT_GT(10 * least_parameters(c), parameter_count(classifier));
  }
}

TEST(ParameterNames, OfTheUNetAreGuidedDiffusions) {
  UNet unet(UNetConfig{}, 0);
  const auto shapes = file_shapes(unet);
  expect_shapes(shapes, {{"time_embed.0.weight", {128, 32}},
                         {"time_embed.2.weight", {128, 128}},
                         {"time_embed.2.bias", {128}},
                         {"input_blocks.0.0.weight", {32, 1, 3, 3}},
                         {"input_blocks.1.0.in_layers.0.weight", {32}},
                         {"input_blocks.1.0.in_layers.2.weight", {32, 32, 3, 3}},
                         {"input_blocks.1.0.emb_layers.1.weight", {64, 128}},
                         {"input_blocks.2.0.op.weight", {32, 32, 3, 3}},
                         {"input_blocks.3.0.skip_connection.weight", {64, 32, 1, 1}},
                         {"input_blocks.3.0.out_layers.3.weight", {64, 64, 3, 3}},
                         {"input_blocks.5.0.out_layers.0.bias", {64}},
                         {"middle_block.0.in_layers.2.weight", {64, 64, 3, 3}},
                         {"middle_block.1.norm.weight", {64}},
                         {"middle_block.1.qkv.weight", {192, 64, 1}},
                         {"middle_block.1.proj_out.weight", {64, 64, 1}},
                         {"middle_block.2.out_layers.3.bias", {64}},
                         {"output_blocks.0.0.in_layers.0.weight", {128}},
                         {"output_blocks.0.0.skip_connection.weight", {64, 128, 1, 1}},
                         {"output_blocks.1.1.conv.weight", {64, 64, 3, 3}},
                         {"output_blocks.3.0.in_layers.2.weight", {64, 96, 3, 3}},
                         {"output_blocks.3.1.conv.bias", {64}},
                         {"output_blocks.5.0.emb_layers.1.bias", {64}},
                         {"out.0.weight", {32}},
                         {"out.2.weight", {1, 32, 3, 3}}});
  EXPECT_EQ(shapes.count("input_blocks.1.0.skip_connection.weight"), 0u);
}

TEST(ParameterNames, OfTheClassifierAreGuidedDiffusions) {
  Classifier classifier(ClassifierConfig{}, 0);
  expect_shapes(file_shapes(classifier),
                {{"input_blocks.0.0.weight", {32, 1, 3, 3}},
                 {"input_blocks.2.0.in_layers.2.weight", {32, 32, 3, 3}},
                 {"input_blocks.3.0.skip_connection.weight", {64, 32, 1, 1}},
                 {"input_blocks.7.0.out_layers.3.weight", {128, 128, 3, 3}},
                 {"middle_block.1.qkv.weight", {384, 128, 1}},
                 {"out.0.weight", {128}},
                 {"out.2.positional_embedding", {128, 10}},
                 {"out.2.qkv_proj.weight", {384, 128, 1}},
                 {"out.2.c_proj.weight", {10, 128, 1}},
                 {"out.2.c_proj.bias", {10}}});
}

TEST(Initialisation, AnUntrainedUNetPredictsExactlyZero) {
  UNet unet(tiny_unet_config(), 3);
  const Tensor noise = random_tensor({4, 8, 8, 1}, 1);
  const Tensor eps = unet.predict(noise, 500);
  for (const float v : eps.to_vector()) EXPECT_EQ(v, 0);
  double loss = 0, square = 0;
  for (const float v : mse_loss(eps, noise).value().to_vector()) loss += v / 4;
  for (const float v : noise.to_vector()) square += double{v} * v / (4 * 64);
  EXPECT_NEAR(loss, square, 1e-6);
}

TEST(Initialisation, AnUntrainedClassifierIsNearlyUndecided) {
  Classifier classifier(ClassifierConfig{}, 3);
  const ClassProbabilities p = classifier.probabilities(random_tensor({8, 28, 28, 1}, 1), 500);
  double loss = 0;
  for (size_t i = 0; i < 8; ++i) {
    double sum = 0;
    for (const float v : p[i]) sum += v;
    EXPECT_NEAR(sum, 1, 1e-5);
    loss -= std::log(p[i][i]) / 8;
  }
  EXPECT_NEAR(loss, std::log(10.0), 0.35);
}

TEST(Probabilities, AreTheSoftmaxOfEachRow) {
  const auto p = softmax(Tensor::from(std::vector<float>{0, std::log(3.0f), 90, 90}, {2, 2}));
  ASSERT_EQ(p.size(), 2u);
  EXPECT_NEAR(p[0][0], 0.25, 1e-6);
  EXPECT_NEAR(p[0][1], 0.75, 1e-6);
  EXPECT_NEAR(p[1][0], 0.5, 1e-6);
  EXPECT_EQ(argmax(p[0]), 1);
  EXPECT_EQ(argmax(p[1]), 0);  // the first of equals
  EXPECT_EQ(argmax({}), -1);
  EXPECT_THROW(softmax(Tensor::zeros({2, 2, 1})), Error);
}

TEST(Initialisation, IsAFunctionOfTheSeed) {
  UNet a(tiny_unet_config(), 1), b(tiny_unet_config(), 1), c(tiny_unet_config(), 2);
  const auto first = [](UNet& u) {
    return state_dict(u).at("input_blocks.1.0.in_layers.2.weight").to_vector();
  };
  EXPECT_EQ(first(a), first(b));
  EXPECT_NE(first(a), first(c));
  // torch's default: uniform within 1 / sqrt(fan_in).
  const double bound = 1 / std::sqrt(32.0 * 9);
  double largest = 0, square = 0;
  for (const float v : first(a)) {
    largest = std::max(largest, std::abs(double{v}));
    square += double{v} * v / (32 * 32 * 9);
  }
  EXPECT_LE(largest, bound);
  EXPECT_NEAR(std::sqrt(square), bound / std::sqrt(3.0), 0.03 * bound);
}

template <class F>
void expect_independent_of_the_batch(const F& f, const Tensor& x) {
  const Floats together = f(x);
  const size_t row = together.size() / static_cast<size_t>(x.dim(0));
  for (int64_t i = 0; i < x.dim(0); ++i) {
    const Floats alone = f(x.slice(i, i + 1));
    for (size_t e = 0; e < row; ++e)
      ASSERT_NEAR(alone[e], together[static_cast<size_t>(i) * row + e], 1e-5) << i << " " << e;
  }
}

TEST(Inference, DoesNotDependOnTheOtherImagesOfTheBatch) {
  UNet unet(tiny_unet_config(), 1);
  randomise(unet);
  Classifier classifier(tiny_classifier_config(), 1);
  randomise(classifier);
  const Tensor x = random_tensor({5, 8, 8, 1}, 2);
  expect_independent_of_the_batch([&](const Tensor& t) { return unet.predict(t, 30).to_vector(); },
                                  x);
  expect_independent_of_the_batch(
      [&](const Tensor& t) {
        Floats all;
        for (const auto& row : classifier.probabilities(t, 30))
          all.insert(all.end(), row.begin(), row.end());
        return all;
      },
      x);
  expect_independent_of_the_batch(
      [&](const Tensor& t) {
        const std::vector<int64_t> labels(static_cast<size_t>(t.dim(0)), 3);
        return classifier.log_p_gradient(t, 30, labels).to_vector();
      },
      x);
}

TEST(Inference, DependsOnTheTimestepAndNotOnDropout) {
  UNetConfig config = tiny_unet_config();
  config.dropout = 0.5;
  UNet unet(config, 1);
  randomise(unet);
  const Tensor x = random_tensor({2, 8, 8, 1}, 2);
  EXPECT_EQ(unet.predict(x, 10).to_vector(), unet.predict(x, 10).to_vector());
  EXPECT_NE(unet.predict(x, 10).to_vector(), unet.predict(x, 900).to_vector());

  const auto training = [&](uint64_t seed, uint32_t step) {
    ForwardContext context;
    context.training = true;
    context.seed = seed;
    context.step = step;
    const NoGrad no_grad;
    return unet.forward(x, timesteps({10, 10}), context).value().to_vector();
  };
  EXPECT_EQ(training(1, 5), training(1, 5));
  EXPECT_NE(training(1, 5), training(1, 6));
  EXPECT_NE(training(1, 5), training(2, 5));
  EXPECT_NE(training(1, 5), unet.predict(x, 10).to_vector());
}

TEST(Inference, RefusesImagesThatDoNotFit) {
  const UNet unet(tiny_unet_config(), 1);
  EXPECT_THROW(unet.predict(Tensor::zeros({1, 8, 8, 3}), 0), Error);
  EXPECT_THROW(unet.predict(Tensor::zeros({1, 7, 8, 1}), 0), Error);
  EXPECT_THROW(unet.predict(Tensor::zeros({8, 8, 1}), 0), Error);
  const Classifier classifier(tiny_classifier_config(), 1);
  EXPECT_THROW(classifier.probabilities(Tensor::zeros({1, 28, 28, 1}), 0), Error);
  EXPECT_THROW(classifier.log_p_gradient(Tensor::zeros({1, 8, 8, 1}), 0, {10}), Error);
  EXPECT_THROW(classifier.log_p_gradient(Tensor::zeros({2, 8, 8, 1}), 0, {1}), Error);
}

TEST(Gradients, OfLogPWithRespectToTheImage) {
  Classifier classifier(tiny_classifier_config(), 1);
  randomise(classifier);
  const Tensor x = random_tensor({3, 8, 8, 1}, 2);
  const std::vector<int64_t> labels{0, 7, 3};
  const auto log_p = [&](const Floats& values) {
    const NoGrad no_grad;
    ForwardContext context;
    const Variable logits =
        classifier.forward(Tensor::from(values, x.shape()), timesteps({40, 40, 40}), context);
    double sum = 0;
    for (const float v : log_softmax_at(logits, labels).value().to_vector()) sum += v;
    return sum;
  };
  const Floats g = classifier.log_p_gradient(x, 40, labels).to_vector();
  ASSERT_GT(dot(g, g), 0);
  for (uint32_t direction = 0; direction < 3; ++direction) {
    const Floats v = random_tensor(x.shape(), 50 + direction).to_vector();
    Floats above = x.to_vector(), below = above;
    const float step = 4e-3f;
    for (size_t i = 0; i < v.size(); ++i) {
      above[i] += step * v[i];
      below[i] -= step * v[i];
    }
    EXPECT_NEAR(dot(g, v), (log_p(above) - log_p(below)) / (2 * step), 1e-2 * std::sqrt(dot(g, g)));
  }
}

// Each parameter by itself, along its own gradient, where the loss must change by the gradient's
// length: a gradient that is wrong in one small tensor has nowhere to hide. One that is 0 but for
// rounding (a bias that a norm takes away again) is tried along a random direction instead.
template <class Model, class Loss>
void check_every_gradient(Model& model, const Loss& loss) {
  testing::want_gradients(model);
  const Variable value = loss();
  backward(value, Tensor::full(value.shape(), 1));
  const auto parameters = named_parameters(model);
  std::vector<Floats> gradients;
  for (const auto& [name, p] : parameters) {
    ASSERT_TRUE(p->variable.gradient()) << name << " got no gradient";
    gradients.push_back(p->variable.gradient().to_vector());
  }
  const NoGrad no_grad;
  constexpr double kStep = 1e-2;  // stands out of the loss's rounding, and is short enough to be
  constexpr double kRounding = 5e-5;  // straight; the rounding, of the difference quotient
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto& [name, parameter] = parameters[i];
    Variable& p = parameter->variable;
    const Floats start = p.value().to_vector(), &gradient = gradients[i];
    Floats direction = gradient;
    if (dot(gradient, gradient) < kRounding * kRounding)
      direction = random_tensor(p.shape(), static_cast<uint32_t>(i)).to_vector();
    const double length = std::sqrt(dot(direction, direction));
    double numeric = 0;
    for (const double sign : {1.0, -1.0}) {
      Floats moved = start;
      for (size_t e = 0; e < moved.size(); ++e)
        moved[e] += static_cast<float>(sign * kStep * direction[e] / length);
      p.mutable_value().copy_from(Tensor::from(moved, p.shape()));
      for (const float l : loss().value().to_vector()) numeric += sign * l / (2 * kStep);
    }
    p.mutable_value().copy_from(Tensor::from(start, p.shape()));
    const double analytic = dot(gradient, direction) / length;
    EXPECT_NEAR(numeric, analytic, 0.02 * std::abs(analytic) + kRounding) << name;
  }
}

TEST(Gradients, OfAWholeUNet) {
  UNetConfig config = tiny_unet_config();
  config.channel_mult = {1, 2};
  config.attention_downsample = {2};
  config.dropout = 0.2;
  UNet unet(config, 1);
  randomise(unet);
  const Tensor x = random_tensor({3, 8, 8, 1}, 2), noise = random_tensor({3, 8, 8, 1}, 3);
  check_every_gradient(unet, [&] {
    ForwardContext context;
    context.training = true;
    return mse_loss(unet.forward(x, timesteps({0, 30, 700}), context), noise);
  });
}

TEST(Gradients, OfAConditionalUNet) {
  UNetConfig config = tiny_unet_config();
  config.norm_groups = 8;
  config.conditions = {{.name = "digit", .classes = 3}, {.name = "slant", .deviation = 2}};
  UNet unet(config, 1);
  randomise(unet);
  const Tensor x = random_tensor({3, 8, 8, 1}, 2), noise = random_tensor({3, 8, 8, 1}, 3);
  const Tensor told = condition_features(
      config.conditions, std::vector<double>{0, 1.5, 2, -3, std::nan(""), 1}, Target::cpu);
  check_every_gradient(unet, [&] {
    ForwardContext context;
    context.training = true;
    return mse_loss(unet.forward(x, timesteps({0, 30, 700}), context, told), noise);
  });
}

TEST(Gradients, OfAWholeClassifier) {
  Classifier classifier(tiny_classifier_config(), 1);
  randomise(classifier);
  const Tensor x = random_tensor({3, 8, 8, 1}, 2);
  check_every_gradient(classifier, [&] {
    ForwardContext context;
    context.training = true;
    return log_softmax_at(classifier.forward(x, timesteps({0, 30, 700}), context), {1, 9, 4});
  });
}

template <class Model, class Loss>
double loss_after(Model& model, int steps, double lr, const Loss& loss) {
  Adamw adamw(variables(model), {.lr = lr});
  double mean = 0;
  for (int i = 0; i < steps; ++i) {
    const Variable l = loss();
    const int64_t n = l.value().numel();
    backward(l, Tensor::full({n}, 1 / static_cast<float>(n)));
    adamw.step();
    mean = 0;
    for (const float v : l.value().to_vector()) mean += v / static_cast<double>(n);
  }
  return mean;
}

TEST(Learning, AUNetOverfitsOneBatch) {
  UNet unet(tiny_unet_config(), 1);
  const Tensor x = random_tensor({4, 8, 8, 1}, 2), noise = random_tensor({4, 8, 8, 1}, 3);
  const double loss = loss_after(unet, 150, 2e-3, [&] {
    ForwardContext context;
    context.training = true;
    return mse_loss(unet.forward(x, timesteps({0, 10, 300, 900}), context), noise);
  });
  EXPECT_LT(loss, 0.1);  // from 1
}

TEST(Learning, AClassifierOverfitsOneBatch) {
  Classifier classifier(tiny_classifier_config(), 1);
  const Tensor x = random_tensor({6, 8, 8, 1}, 2);
  const double loss = loss_after(classifier, 60, 2e-3, [&] {
    ForwardContext context;
    context.training = true;
    return negate(log_softmax_at(
        classifier.forward(x, timesteps({0, 10, 300, 900, 5, 50}), context), {0, 9, 3, 3, 7, 1}));
  });
  EXPECT_LT(loss, 0.05);  // from 2.3
}

TEST(Learning, ARegressorOverfitsOneBatch) {
  Regressor regressor(testing::tiny_regressor_config(), 1);
  const Tensor x = random_tensor({6, 8, 8, 1}, 2),
               y = Tensor::from(Floats{-2, 1, 0.3f, 0, 1.5f, -0.7f}, {6, 1});
  const double loss = loss_after(regressor, 80, 2e-3, [&] {
    ForwardContext context;
    context.training = true;
    return mse_loss(regressor.forward(x, timesteps({0, 10, 300, 900, 5, 50}), context), y);
  });
  EXPECT_LT(loss, 0.05);  // from 1.3
}

}  // namespace
}  // namespace diffscm
