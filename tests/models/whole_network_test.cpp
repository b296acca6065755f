// A U-Net in one kernel: where its activations lie, and that its answers are those of its layers.
#include "models/whole_network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

using testing::random_tensor;

constexpr WholeNetworkLimits kH100{.arena_bytes = 201 << 10, .most_rows = {1024, 512}};

UNetConfig tiny() {  // the preset
  UNetConfig c;
  c.channel_mult = {1, 1};
  return c;
}

// Chooses the way for as long as it lives.
class Way {
 public:
  explicit Way(const char* way) { ::setenv("DIFFSCM_UNET", way, 1); }
  ~Way() { ::unsetenv("DIFFSCM_UNET"); }
};

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return INFINITY;
    difference = std::max(difference, std::abs(double{a[i]} - double{b[i]}));
    largest = std::max(largest, std::abs(double{b[i]}));
  }
  return difference / largest;
}

struct Case {
  UNetConfig config;
  int64_t images = 1;
};

std::vector<float> predict(const Case& c, Target target, Dtype layers, const char* way) {
  const Way chosen(way);
  UNet model(c.config, 5);
  testing::randomise(model);
  for (const auto& [name, p] : named_parameters(model))
    p->variable = Variable(p->variable.value().to(target));
  model.set_precision(layers);
  const int64_t n = c.images, side = c.config.image_size;
  std::vector<float> t(static_cast<size_t>(n));
  for (size_t i = 0; i < t.size(); ++i) t[i] = static_cast<float>(i * 997 % 1000);
  Tensor features;
  if (const int64_t f = feature_count(c.config.conditions); f > 0)
    features = random_tensor({n, f}, 13).to(target);
  return model
      .predict(random_tensor({n, side, side, c.config.in_channels}, 11).to(target),
               Tensor::from(t, {n}, target), features)
      .to_vector();
}

class WholeNetworkTest : public ::testing::TestWithParam<Target> {
 protected:
  // 8 significant bits per layer; and as near to f32 as the layers one by one.
  void expect_close(const Case& c) {
    ASSERT_EQ(WholeUNet().unfit(c.config, GetParam()), "");
    const auto exact = predict(c, Target::cpu, Dtype::f32, "layers");
    const auto layers = predict(c, GetParam(), Dtype::bf16, "layers");
    const auto whole = predict(c, GetParam(), Dtype::bf16, "whole");
    ASSERT_EQ(whole.size(), exact.size());
    EXPECT_NE(whole, layers) << "was it the other way after all?";
    EXPECT_LT(distance(whole, exact), std::max(0.02, 1.5 * distance(layers, exact)));
  }
};

TEST_P(WholeNetworkTest, TheTinyPreset) {
  expect_close({tiny(), 1});
}

std::vector<Target> device_targets() {
  std::vector<Target> targets = available_targets();
  std::erase(targets, Target::cpu);
  return targets;
}
INSTANTIATE_TEST_SUITE_P(Targets, WholeNetworkTest, ::testing::ValuesIn(device_targets()),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace diffscm
