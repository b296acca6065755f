// diffusers' UNet2DModel as it writes itself, against its own answers in double precision
// (bench/peers/golden_diffusers.py).
#include "models/diffusers_weights.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/npz.h"
#include "engine/io/safetensors.h"
#include "models/foreign_weights.h"
#include "models/unet.h"
#include "tests/engine/io_testing.h"
#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

using nlohmann::json;

const std::string kFolder = DIFFSCM_GOLDEN "/diffusers/";

json config_of(const std::string& name) {
  const io::Bytes text = io::read_file(kFolder + name + "/config.json");
  return io::parse_json({reinterpret_cast<const char*>(text.data()), text.size()});
}
NamedTensors tensors_of(const std::string& name) {
  return io::read_safetensors(kFolder + name + "/diffusion_pytorch_model.safetensors").tensors;
}

UNetConfig import(NamedTensors& tensors, const json& config) {
  const json told = from_diffusers(tensors, parse_diffusers_config(config));
  json whole = recognise_network(tensors, told).config;
  whole.update({{"heads", 1}, {"head_channels", 0}});
  whole.update(told);
  return whole.get<UNetConfig>();
}

class Diffusers : public ::testing::TestWithParam<Target> {
 protected:
  Tensor expected(const std::string& name) const {
    const io::NpyArray& array = expected_.at(name);
    return Tensor::from(array.to_floats(), array.shape);
  }
  UNet network(NamedTensors tensors, const json& config) const {
    UNet unet(import(tensors, config), ShapesOnly{});
    load_state(named_parameters(unet), tensors);
    for (const auto& [name, p] : named_parameters(unet))
      p->variable = Variable(p->variable.value().to(GetParam()));
    return unet;
  }
  // The answer to the recorded question.
  Tensor eps(const UNet& unet, const std::string& name) const {
    Tensor told;
    if (!unet.config().conditions.empty())
      told = condition_features(unet.config().conditions, std::vector<double>{2, 0}, GetParam());
    return unet
        .outputs(expected(name + ".x").to(GetParam()), expected(name + ".t").to(GetParam()), told)
        .eps;
  }
  double largest_difference(const Tensor& eps, const std::string& name) const {
    const Tensor wanted = expected(name + ".outputs");
    const std::vector<float> a = eps.to_vector(), b = wanted.to_vector();
    const int64_t c = eps.dim(3), all = wanted.dim(3);
    double difference = 0;
    for (size_t i = 0; i < a.size(); ++i)
      difference = std::max(
          difference,
          std::abs(double{a[i]} - double{b[i / static_cast<size_t>(c) * static_cast<size_t>(all) +
                                           i % static_cast<size_t>(c)]}));
    return difference;
  }

 private:
  const io::NpyArrays expected_ = io::read_npz(kFolder + "expected.npz");
};

TEST_P(Diffusers, AnswersAreItsOwn) {
  for (const std::string name : {"ddpm", "ours"}) {
    SCOPED_TRACE(name);
    const UNet unet = network(tensors_of(name), config_of(name));
    EXPECT_LT(largest_difference(eps(unet, name), name), 3e-5);  // of 1.3 and 1.4
  }
}

// Each of the things that its configuration alone says has a part in the answer.
TEST_P(Diffusers, WhatTheConfigurationSaysMatters) {
  for (const auto& [key, value] :
       {std::pair{"freq_shift", json(0)}, std::pair{"flip_sin_to_cos", json(true)},
        std::pair{"downsample_padding", json(1)}, std::pair{"attention_head_dim", json(4)},
        std::pair{"norm_eps", json(1e-2)}, std::pair{"norm_num_groups", json(2)}}) {
    json config = config_of("ddpm");
    config[key] = value;
    EXPECT_GT(largest_difference(eps(network(tensors_of("ddpm"), config), "ddpm"), "ddpm"), 3e-4)
        << key;
  }
}

// The gradient of a turned network with the last frequency, by differences.
TEST_P(Diffusers, CanBeTrained) {
  UNet unet = network(tensors_of("ddpm"), config_of("ddpm"));
  const Tensor x = expected("ddpm.x"), t = expected("ddpm.t").to(GetParam());
  const Tensor v = testing::random_tensor(x.shape(), 5);
  ForwardContext context;
  const Variable input = Variable::leaf(x.to(GetParam()));
  backward(unet.forward(input, t, context), v.to(GetParam()));
  const Tensor direction = testing::random_tensor(x.shape(), 6);
  const auto at = [&](float step) {
    std::vector<float> moved = x.to_vector();
    const std::vector<float> d = direction.to_vector();
    for (size_t i = 0; i < moved.size(); ++i) moved[i] += step * d[i];
    return testing::dot(unet.predict(Tensor::from(moved, x.shape()).to(GetParam()), t).to_vector(),
                        v.to_vector());
  };
  const double slope = (at(0.01f) - at(-0.01f)) / 0.02;
  EXPECT_NEAR(testing::dot(input.gradient().to_vector(), direction.to_vector()), slope,
              1e-2 * std::abs(slope) + 1e-2);
}

INSTANTIATE_TEST_SUITE_P(Targets, Diffusers, ::testing::ValuesIn(available_targets()),
                         [](const auto& target) { return name_of(target.param); });

// In old files the layers of attention have other names.
TEST(DiffusersWeights, OldNamesAreTheSame) {
  NamedTensors old, now = tensors_of("ddpm");
  for (const auto& [name, tensor] : now) {
    std::string renamed = name;
    for (const auto& [from, to] : {std::pair<std::string, std::string>{".to_q.", ".query."},
                                   {".to_k.", ".key."},
                                   {".to_v.", ".value."},
                                   {".to_out.0.", ".proj_attn."}})
      if (const size_t at = renamed.find(from); at != std::string::npos)
        renamed.replace(at, from.size(), to);
    old.emplace(renamed, tensor);
  }
  ASSERT_TRUE(old.contains("mid_block.attentions.0.query.weight"));
  import(old, config_of("ddpm"));
  import(now, config_of("ddpm"));
  ASSERT_EQ(old.size(), now.size());
  for (const auto& [name, tensor] : now)
    EXPECT_EQ(old.at(name).to_vector(), tensor.to_vector()) << name;
}

TEST(DiffusersWeights, NamesWhatOurNetworkCannotDo) {
  const auto refused = [](const char* key, const json& value, const char* part) {
    json config = config_of("ddpm");
    config[key] = value;
    NamedTensors tensors = tensors_of("ddpm");
    testing::expect_error([&] { import(tensors, config); }, part);
  };
  refused("_class_name", "UNet2DConditionModel", "UNet2DConditionModel");
  refused("center_input_sample", true, "center_input_sample");
  refused("time_embedding_type", "fourier", "positional");
  refused("act_fn", "gelu", "gelu");
  refused("freq_shift", 2, "freq_shift");
  refused("class_embed_type", "timestep", "class_embed_type");
  refused("down_block_types", {"DownBlock2D", "SkipDownBlock2D"}, "SkipDownBlock2D");
  refused("attention_head_dim", 3, "attention_head_dim");
  refused("attention_head_dim", "wide", "attention_head_dim");
  refused("norm_eps", 0, "norm_eps");
  refused("norm_eps", "small", "norm_eps");
  refused("sample_size", -8, "sample_size");
  testing::expect_error([] { parse_diffusers_config(json::array()); }, "not a JSON object");
}

TEST(DiffusersWeights, NamesTensorsThatAreWrong) {
  const auto refused = [](const std::string& name, const Tensor& tensor, const std::string& named) {
    NamedTensors tensors = tensors_of("ddpm");
    ASSERT_TRUE(tensors.contains(name)) << name;
    tensors.erase(name);
    if (tensor) tensors.emplace(name, tensor);
    testing::expect_error([&] { import(tensors, config_of("ddpm")); }, named);
  };
  const std::string attention = "mid_block.attentions.0.";
  refused(attention + "to_k.bias", {}, attention + "to_k.bias");
  refused(attention + "to_q.weight", {}, attention + "to_q.weight");
  refused(attention + "to_q.weight", Tensor({1 << 20}), attention + "to_q.weight");
  refused(attention + "to_v.weight", Tensor({4, 16}), attention + "to_v.weight");
  refused("time_embedding.linear_1.weight", Tensor({5}), "time_embedding.linear_1.weight");
  refused("conv_out.weight", {}, "out.2.weight");
  NamedTensors deep = tensors_of("ddpm");
  for (int level = 3; level < 9; ++level)
    deep.emplace(fmt::format("down_blocks.{}.resnets.0.conv1.weight", level), Tensor({1}));
  testing::expect_error([&] { import(deep, config_of("ddpm")); }, "9 levels");
}

TEST(DiffusersWeights, SchedulesThatWeHave) {
  EXPECT_EQ(diffusion_from_diffusers(json::object()),
            (json{{"schedule", "linear"}, {"timesteps", 1000}}));
  EXPECT_EQ(diffusion_from_diffusers(
                {{"beta_schedule", "squaredcos_cap_v2"}, {"num_train_timesteps", 500}}),
            (json{{"schedule", "cosine"}, {"timesteps", 500}}));
  for (const json& other :
       {json{{"beta_schedule", "scaled_linear"}}, json{{"prediction_type", "v_prediction"}},
        json{{"beta_end", 0.012}}, json{{"num_train_timesteps", 500}}, json::array()})
    EXPECT_THROW(diffusion_from_diffusers(other), Error) << other;
}

}  // namespace
}  // namespace diffscm
