// A U-Net in one kernel: where its activations lie, and that its answers are those of its layers.
#include "models/whole_network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "engine/captured_step.h"
#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

using testing::random_tensor;

constexpr WholeNetworkLimits kH100{.arena_bytes = 162 << 10, .most_tiles = {16, 8}};

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

UNet model_of(const UNetConfig& config, Target target, Dtype layers) {
  UNet model(config, 5);
  testing::randomise(model);
  for (const auto& [name, p] : named_parameters(model))
    p->variable = Variable(p->variable.value().to(target));
  model.set_precision(layers);
  return model;
}

Tensor images_of(const UNetConfig& config, int64_t n, Target target) {
  return random_tensor({n, config.image_size, config.image_size, config.in_channels}, 11)
      .to(target);
}

std::vector<float> predict(const Case& c, Target target, Dtype layers, const char* way) {
  const Way chosen(way);
  std::vector<float> t(static_cast<size_t>(c.images));
  for (size_t i = 0; i < t.size(); ++i) t[i] = static_cast<float>(i * 997 % 1000);
  Tensor features;
  if (const int64_t f = feature_count(c.config.conditions); f > 0)
    features = random_tensor({c.images, f}, 13).to(target);
  return model_of(c.config, target, layers)
      .predict(images_of(c.config, c.images, target), Tensor::from(t, {c.images}, target), features)
      .to_vector();
}

// Small enough for the builds that check every access, with all kinds of layers.
UNetConfig small() {
  UNetConfig c;
  c.image_size = 8;
  c.channel_mult = {1, 2};
  return c;
}

class WholeNetworkTest : public ::testing::TestWithParam<Target> {
 protected:
  // 8 significant bits per layer; and as near to f32 as the layers one by one.
  void expect_close(const Case& c) {
    ASSERT_EQ(whole_network_unfit(c.config, GetParam()), "");
    const auto exact = predict(c, Target::cpu, Dtype::f32, "layers");
    const auto layers = predict(c, GetParam(), Dtype::bf16, "layers");
    const auto whole = predict(c, GetParam(), Dtype::bf16, "whole");
    ASSERT_EQ(whole.size(), exact.size());
    EXPECT_NE(whole, layers) << "was it the other way after all?";
    EXPECT_LT(distance(whole, exact), std::max(0.02, 1.5 * distance(layers, exact)));
  }
};

TEST_P(WholeNetworkTest, ASmallOne) {
  expect_close({small(), 2});
}
TEST_P(WholeNetworkTest, TheTinyPreset) {
  expect_close({tiny(), 1});
}
// Its first skip connection waits in device memory.
TEST_P(WholeNetworkTest, TheOneOfMnistFast) {
  expect_close({UNetConfig(), 1});
}
// The networks that ship: groups of four and more channels, told the digit. More images than the
// emulator has multiprocessors, and not as many on each.
TEST_P(WholeNetworkTest, TheOneThatShips) {
  UNetConfig c;
  c.norm_groups = 8;
  c.conditions = {{.name = "class", .classes = 10}};
  expect_close({c, 5});
}
// Colours, more blocks, attention of several heads, an embedding that is only added.
TEST_P(WholeNetworkTest, WhatElseThereIs) {
  UNetConfig c;
  c.image_size = 12;
  c.in_channels = c.out_channels = 3;
  c.channel_mult = {1, 2, 2};
  c.num_res_blocks = 2;
  c.attention_downsample = {2, 4};
  c.heads = 2;
  c.norm_groups = 16;
  c.scale_shift = false;
  expect_close({c, 7});
}

TEST_P(WholeNetworkTest, BitsDoNotDependOnBatch) {
  const Way way("whole");
  const UNet model = model_of(small(), GetParam(), Dtype::bf16);
  const Tensor x = images_of(small(), 6, GetParam());
  const auto all = model.predict(x, 300).to_vector(),
             one = model.predict(x.slice(4, 5), 300).to_vector();
  EXPECT_TRUE(std::equal(one.begin(), one.end(), all.begin() + 4 * std::ssize(one)));
}

// Recorded, it gives the same bits; and after a weight has changed, the new weight's.
TEST_P(WholeNetworkTest, IsRecorded) {
  const Way way("whole");
  UNet model = model_of(small(), GetParam(), Dtype::bf16);
  const Tensor x = images_of(small(), 2, GetParam()), t = Tensor::full({2}, 300, GetParam());
  const auto first = model.predict(x, t).to_vector();
  Tensor y;
  CapturedStep step(GetParam(), [&] { y = model.predict(x, t); });
  for (int i = 0; i < 3; ++i) {
    step.run();
    EXPECT_EQ(y.to_vector(), first) << i;
  }
  for (const auto& [name, p] : named_parameters(model)) {
    if (name != "middle_block.0.in_layers.2.weight") continue;
    Tensor& weight = p->variable.mutable_value();
    std::vector<float> doubled = weight.to_vector();
    for (float& v : doubled) v *= 2;
    weight.copy_from(Tensor::from(doubled, weight.shape()));
  }
  const auto second = model.predict(x, t).to_vector();
  EXPECT_NE(second, first);
  for (int i = 0; i < 3; ++i) {
    step.run();
    EXPECT_EQ(y.to_vector(), second) << i;
  }
}

TEST(WholeNetworkPlan, OfMnistFast) {
  const WholeNetworkPlan plan = plan_whole_network(UNetConfig(), kH100);
  ASSERT_EQ(plan.unfit, "");
  EXPECT_EQ(plan.saved_bytes, 2 * kernels::WholeNetworkPlane{28}.bytes());  // skip connections
  EXPECT_LE(plan.arena_bytes, kH100.arena_bytes);
  EXPECT_EQ(plan.told_width, 2 * (3 * 32 + 8 * 64));
}
// No plane is written over that a later layer reads, and none reaches beyond the arena.
TEST(WholeNetworkPlan, HasAPlaceForEveryPlane) {
  for (const UNetConfig& config : {UNetConfig(), tiny(), small()}) {
    const WholeNetworkPlan plan = plan_whole_network(config, kH100);
    ASSERT_EQ(plan.unfit, "");
    std::map<int32_t, int32_t> written;  // begin -> end of what has been written last
    const auto write = [&](int32_t begin, int32_t bytes) {
      EXPECT_LE(begin + bytes, plan.arena_bytes);
      EXPECT_EQ(begin % 128, 0);
      std::erase_if(written,
                    [&](const auto& w) { return w.first < begin + bytes && begin < w.second; });
      written[begin] = begin + bytes;
    };
    const auto read = [&](int32_t begin, int32_t bytes) {
      const auto found = written.find(begin);
      ASSERT_TRUE(found != written.end()) << begin;
      EXPECT_EQ(found->second, begin + bytes);
    };
    for (const PlannedLayer& planned : plan.layers) {
      const kernels::WholeNetworkLayer& l = planned.layer;
      using Kind = kernels::WholeNetworkLayer::Kind;
      const int32_t bytes = kernels::WholeNetworkPlane{l.side}.bytes();
      const auto read_all = [&](const int32_t* places, int count) {
        for (int i = 0; i < count; ++i)
          if (places[i] >= 0) read(places[i], bytes);
      };
      if (l.kind == Kind::unfold) {
        for (int i = 0; i < l.planes; ++i) write(l.read[i], bytes);
        continue;
      }
      read_all(l.in, l.planes);
      if (l.groups > 0)
        for (int i = 0; i < l.planes; ++i) write(l.read[i], bytes);
      read_all(l.read, l.planes);
      read_all(l.shortcut, l.shortcuts);
      const int32_t out_side = l.kind == Kind::convolution ? l.out_side : l.side;
      for (int i = 0; i < l.out_planes; ++i)
        write(l.out[i], kernels::WholeNetworkPlane{out_side}.bytes());
    }
  }
}
TEST(WholeNetworkPlan, SaysWhyNot) {
  const auto why = [](auto change) {
    UNetConfig c;
    change(c);
    return plan_whole_network(c, kH100).unfit;
  };
  EXPECT_EQ(why([](UNetConfig& c) { c.turned = true; }), "it sees images turned");
  EXPECT_EQ(why([](UNetConfig& c) { c.model_channels = 48; }),
            "it has 48 channels, no multiple of 32");
  EXPECT_EQ(why([](UNetConfig& c) { c.resblock_updown = true; }),
            "residual blocks halve and double its images");
  EXPECT_EQ(why([](UNetConfig& c) { c.heads = 8; }),
            "an attention head is 8 channels wide, not 16, 32 or 64");
  EXPECT_EQ(why([](UNetConfig& c) { c.model_channels = 64; }),
            "a layer makes 64 channels of 28x28 pixels");
  EXPECT_EQ(plan_whole_network(UNetConfig(), {100 << 10, {16, 8}}).unfit,
            "its activations need more than 102400 bytes of shared memory");
}

// One bad image of three is too much, the rounding of bf16 is not.
TEST(WholeNetwork, IsComparedWithItsLayers) {
  const Tensor layers = random_tensor({3, 8, 8, 1}, 17);
  std::vector<float> rounded = layers.to_vector();
  for (float& v : rounded) v *= 1.01f;
  check_whole_network(Tensor::from(rounded, layers.shape()), layers);
  for (size_t i = 64; i < 80; ++i) rounded[i] = 0;
  try {
    check_whole_network(Tensor::from(rounded, layers.shape()), layers);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), ::testing::HasSubstr("for image 1 of 3; set DIFFSCM_UNET=layers"));
  }
  rounded[70] = NAN;
  EXPECT_THROW(check_whole_network(Tensor::from(rounded, layers.shape()), layers), Error);
}

TEST(WholeNetwork, IsTheFirstChoiceOnAGpu) {
  ::unsetenv("DIFFSCM_UNET");
  EXPECT_TRUE(whole_network_wanted(Target::cuda));
  EXPECT_FALSE(whole_network_wanted(Target::emu));
  for (const char* of_layers : {"DIFFSCM_CONV", "DIFFSCM_GEMM"}) {
    const char* const before = std::getenv(of_layers);
    ::setenv(of_layers, "mma", 1);
    EXPECT_FALSE(whole_network_wanted(Target::cuda)) << of_layers;
    before ? ::setenv(of_layers, before, 1) : ::unsetenv(of_layers);
  }
}

TEST(WholeNetwork, IsAskedForByName) {
  const Way way("holistic");
  try {
    whole_network_wanted(Target::cpu);
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "DIFFSCM_UNET=holistic: choose whole or layers");
  }
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
