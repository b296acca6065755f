// The same networks on every target, in both precisions.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

using testing::random_tensor;

struct Answer {
  std::vector<float> value;
  std::map<std::string, std::vector<float>> gradients;  // by parameter; "x": of the input
};

template <class Model>
void move(Model& model, Target target) {
  for (const auto& [name, p] : named_parameters(model))
    p->variable = Variable::leaf(p->variable.value().to(target).clone());
}

// forward gives one value per sample.
template <class Model, class Forward>
Answer ask(Model model, Target target, Dtype layers, const Forward& forward) {
  testing::randomise(model);
  move(model, target);
  model.set_precision(layers);
  const Variable x = Variable::leaf(random_tensor({3, 8, 8, 1}, 11).to(target));
  ForwardContext context;
  context.training = true;
  context.seed = 3;
  const Tensor t = Tensor::from(std::vector<float>{0, 300, 999}, {3}, target);
  const auto [value, loss] = forward(model, x, t, context);
  EXPECT_EQ(value.value().dtype(), Dtype::f32);
  backward(loss, Tensor::full(loss.shape(), 1, target));
  Answer answer{value.value().to_vector(), {{"x", x.gradient().to_vector()}}};
  for (const auto& [name, p] : named_parameters(model)) {
    EXPECT_EQ(p->variable.gradient().dtype(), Dtype::f32) << name;
    answer.gradients[name] = p->variable.gradient().to_vector();
  }
  return answer;
}

double largest(const std::vector<float>& values) {
  double most = 0;
  for (const float v : values) most = std::max(most, std::abs(double{v}));
  return most;
}

// The largest difference as a share of the largest value.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return INFINITY;
    difference = std::max(difference, std::abs(double{a[i]} - double{b[i]}));
  }
  return difference / largest(b);
}

// Every parameter's gradient by its own size. Those that are 0 but for rounding (a bias that a norm
// takes away again) must stay small against the largest of all.
void expect_close(const Answer& a, const Answer& b, double value, double gradient) {
  EXPECT_LT(distance(a.value, b.value), value);
  ASSERT_EQ(a.gradients.size(), b.gradients.size());
  double most = 0;
  for (const auto& [name, g] : b.gradients) most = std::max(most, largest(g));
  int zero = 0;
  for (const auto& [name, g] : b.gradients) {
    if (largest(g) > 1e-6 * most) {
      EXPECT_LT(distance(a.gradients.at(name), g), gradient) << name;
    } else {
      ++zero;
      EXPECT_LT(largest(a.gradients.at(name)), 0.01 * gradient * most) << name;
    }
  }
  EXPECT_LT(zero, std::ssize(b.gradients) / 5);
}

Answer ask_unet(Target target, Dtype layers) {
  UNetConfig config = testing::tiny_unet_config();
  config.attention_downsample = {2};
  config.dropout = 0.1;
  const Tensor noise = random_tensor({3, 8, 8, 1}, 12).to(target);
  return ask(UNet(config, 5), target, layers,
             [&](UNet& m, const Variable& x, const Tensor& t, ForwardContext& context) {
               const Variable eps = m.forward(x, t, context);
               return std::pair{eps, mse_loss(eps, noise)};
             });
}

Answer ask_classifier(Target target, Dtype layers) {
  return ask(Classifier(testing::tiny_classifier_config(), 5), target, layers,
             [](Classifier& m, const Variable& x, const Tensor& t, ForwardContext& context) {
               const Variable logits = m.forward(x, t, context);
               return std::pair{logits, log_softmax_at(logits, std::vector<int64_t>{1, 9, 4})};
             });
}

class TargetsTest : public ::testing::TestWithParam<Target> {};

TEST_P(TargetsTest, TheUNetAndItsGradientsAreTheSame) {
  const Answer cpu = ask_unet(Target::cpu, Dtype::f32);
  expect_close(ask_unet(GetParam(), Dtype::f32), cpu, 2e-5, 2e-4);
}
TEST_P(TargetsTest, TheClassifierAndItsGradientsAreTheSame) {
  const Answer cpu = ask_classifier(Target::cpu, Dtype::f32);
  expect_close(ask_classifier(GetParam(), Dtype::f32), cpu, 2e-5, 2e-4);
}
// 8 significant bits per layer.
TEST_P(TargetsTest, TheUNetInBf16IsClose) {
  const Answer cpu = ask_unet(Target::cpu, Dtype::f32), b = ask_unet(GetParam(), Dtype::bf16);
  expect_close(b, cpu, 0.03, 0.1);
  EXPECT_GT(distance(b.value, cpu.value), 1e-5);  // and it is not f32 after all
}
// Inference joins operators that a recorded forward keeps apart.
TEST_P(TargetsTest, TheUNetsPredictionInBf16IsClose) {
  UNetConfig config = testing::tiny_unet_config();
  config.num_res_blocks = 2;
  const auto predict = [&](Target target, Dtype layers) {
    UNet net(config, 5);
    testing::randomise(net);
    move(net, target);
    net.set_precision(layers);
    return net.predict(random_tensor({3, 8, 8, 1}, 11).to(target), 500).to_vector();
  };
  const std::vector<float> a = predict(Target::cpu, Dtype::f32);
  EXPECT_LT(distance(predict(GetParam(), Dtype::bf16), a), 0.03);
}
TEST_P(TargetsTest, TheClassifierInBf16IsClose) {
  const Answer cpu = ask_classifier(Target::cpu, Dtype::f32),
               b = ask_classifier(GetParam(), Dtype::bf16);
  expect_close(b, cpu, 0.03, 0.1);
  EXPECT_GT(distance(b.value, cpu.value), 1e-5);
}

std::vector<Target> device_targets() {
  std::vector<Target> targets = available_targets();
  std::erase(targets, Target::cpu);
  return targets;
}
INSTANTIATE_TEST_SUITE_P(Targets, TargetsTest, ::testing::ValuesIn(device_targets()),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace diffscm
