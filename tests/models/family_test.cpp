// The whole guided-diffusion family: each of its flags against PyTorch in double precision
// (bench/peers/golden_family.py), by gradients, and recognised from names and shapes alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/io/npz.h"
#include "models/foreign_weights.h"
#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

using nlohmann::json;

const std::string kFolder = DIFFSCM_GOLDEN "/family/";
const char* const kUNets[] = {"updown", "added", "variance", "heads", "half", "told"};
const char* const kClassifiers[] = {"attention", "adaptive", "spatial", "spatial_v2"};

class Family : public ::testing::TestWithParam<Target> {
 protected:
  Tensor tensor(const std::string& name) const {
    const io::NpyArray& array = expected_.at(name);
    return Tensor::from(array.to_floats(), array.shape).to(GetParam());
  }
  // Relative to the largest value.
  void expect_close(const std::vector<float>& actual, const std::string& name) const {
    const std::vector<float> wanted = expected_.at(name).to_floats();
    ASSERT_EQ(actual.size(), wanted.size()) << name;
    double difference = 0, largest = 0;
    for (size_t i = 0; i < actual.size(); ++i) {
      ASSERT_TRUE(std::isfinite(actual[i])) << name;
      difference = std::max(difference, std::abs(double{actual[i]} - double{wanted[i]}));
      largest = std::max(largest, std::abs(double{wanted[i]}));
    }
    EXPECT_LT(difference, 2e-5 * largest) << name;
  }

 private:
  const io::NpyArrays expected_ = io::read_npz(kFolder + "expected.npz");
};

// eps [N,H,W,C] and v, if there is one, as one tensor of 2C channels.
std::vector<float> outputs_of(const UNet::Outputs& outputs) {
  const std::vector<float> eps = outputs.eps.to_vector();
  if (!outputs.v) return eps;
  const std::vector<float> v = outputs.v.to_vector();
  const auto c = static_cast<std::ptrdiff_t>(outputs.eps.dim(3));
  std::vector<float> both;
  for (auto e = eps.begin(), w = v.begin(); e != eps.end(); e += c, w += c) {
    both.insert(both.end(), e, e + c);
    both.insert(both.end(), w, w + c);
  }
  return both;
}

TEST_P(Family, UNetsAnswerAsPyTorchDoes) {
  for (const std::string name : kUNets) {
    SCOPED_TRACE(name);
    const auto loaded = load_model<UNet>(kFolder + name + ".safetensors", GetParam());
    const UNet& unet = loaded.model;
    const Tensor x = tensor(name + ".x"), t = tensor(name + ".t");
    Tensor told;
    if (!unet.config().conditions.empty())
      told = condition_features(unet.config().conditions, std::vector<double>{2, 0}, GetParam());
    const UNet::Outputs outputs = unet.outputs(x, t, told);
    expect_close(outputs_of(outputs), name + ".outputs");
    EXPECT_EQ(unet.predict(x, t, told).to_vector(), outputs.eps.to_vector());
    ForwardContext context;
    const Variable input = Variable::leaf(x);
    backward(unet.forward(input, t, context, told), tensor(name + ".v"));
    expect_close(input.gradient().to_vector(), name + ".gradient");
  }
}

TEST_P(Family, ClassifiersAnswerAsPyTorchDoes) {
  for (const std::string name : kClassifiers) {
    SCOPED_TRACE(name);
    const auto loaded = load_model<Classifier>(kFolder + name + ".safetensors", GetParam());
    const Tensor x = tensor(name + ".x"), t = tensor(name + ".t");
    ForwardContext context;
    expect_close(loaded.model.forward(x, t, context).value().to_vector(), name + ".logits");
    const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1}, {2}, GetParam());
    expect_close(loaded.model.log_p_gradient(x, t, labels).to_vector(), name + ".gradient");
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Family, ::testing::ValuesIn(available_targets()),
                         [](const auto& target) { return name_of(target.param); });

// Everything that names and shapes decide; the rest is not in the file.
TEST(ForeignWeights, SayWhichMemberOfTheFamilyTheyAre) {
  const auto expect_recognised = [](const std::string& name, const json& told) {
    SCOPED_TRACE(name);
    const auto [info, state] = read_model(kFolder + name + ".safetensors");
    const ForeignNetwork found = recognise_network(state, told);
    EXPECT_EQ(found.kind, info.kind);
    const json all = info.kind == UNet::kKind ? json(info.config.get<UNetConfig>())
                                              : json(info.config.get<ClassifierConfig>());
    json whole = all;
    whole.merge_patch(found.config);
    EXPECT_EQ(whole, all);
    EXPECT_TRUE(found.config.contains("resblock_updown"));
    EXPECT_TRUE(found.config.contains("attention_downsample"));
  };
  for (const char* name : kUNets) expect_recognised(name, json::object());
  expect_recognised("attention", json::object());
  for (const char* name : {"adaptive", "spatial", "spatial_v2"})
    expect_recognised(name, {{"num_res_blocks", 1}});
}

template <class Model, class Config>
int64_t count(const Config& config) {
  Model shapes(config, ShapesOnly{});
  const int64_t parameters = parameter_count(shapes);
  EXPECT_LE(least_parameters(config), parameters);
  return parameters;
}

// The 256x256 pair of Dhariwal & Nichol 2021; 2.4 GB, of which nothing is allocated.
TEST(ParameterCounts, OfPublishedModelsWithoutTheirMemory) {
  UNetConfig unet;
  unet.image_size = 256;
  unet.in_channels = 3;
  unet.out_channels = 6;
  unet.model_channels = 256;
  unet.channel_mult = {1, 1, 2, 2, 4, 4};
  unet.num_res_blocks = 2;
  unet.attention_downsample = {8, 16, 32};
  unet.head_channels = 64;
  unet.resblock_updown = true;
  EXPECT_EQ(count<UNet>(unet), 552'814'086);
  unet.conditions = {{.name = "class", .classes = 1000}};
  EXPECT_EQ(count<UNet>(unet), 552'814'086 + 1000 * 1024);

  ClassifierConfig classifier;
  classifier.image_size = 256;
  classifier.in_channels = 3;
  classifier.classes = 1000;
  classifier.model_channels = 128;
  classifier.channel_mult = {1, 1, 2, 2, 4, 4};
  classifier.num_res_blocks = 2;
  classifier.attention_downsample = {8, 16, 32};
  EXPECT_EQ(count<Classifier>(classifier), 54'096'360);
}

}  // namespace
}  // namespace diffscm
