#include "models/checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/io/safetensors.h"
#include "tests/engine/io_testing.h"
#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::randomise;
using testing::TemporaryFolder;
using testing::tiny_classifier_config;
using testing::tiny_unet_config;

template <class Model>
ModelInfo info_of(const Model& model) {
  ModelInfo info;
  info.kind = Model::kKind;
  info.config = model.config();
  info.diffusion = {{"schedule", "linear"}, {"timesteps", 1000}, {"sampling_steps", 10}};
  info.data = {{"name", "noise"}};
  info.training = {{"command", "a \xff byte that is not UTF-8"}};
  return info;
}

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() : unet_(tiny_unet_config(), 1) { randomise(unet_); }

  // Writes the U-Net after a change to what it says or holds.
  void write(const std::function<void(ModelInfo&, NamedTensors&)>& change) {
    ModelInfo info = info_of(unet_);
    NamedTensors state = state_dict(unet_);
    change(info, state);
    write_model(path_, info, state);
  }
  void load() { load_model<UNet>(path_, Target::cpu); }

  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "model.safetensors";
  UNet unet_;
};

TEST_F(CheckpointTest, RoundTripIsExact) {
  write([](ModelInfo&, NamedTensors&) {});
  auto loaded = load_model<UNet>(path_, Target::cpu);
  const NamedTensors before = state_dict(unet_), after = state_dict(loaded.model);
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, tensor] : before) {
    EXPECT_EQ(tensor.shape(), after.at(name).shape()) << name;
    EXPECT_EQ(tensor.to_vector(), after.at(name).to_vector()) << name;
  }
  const Tensor x = testing::random_tensor({2, 8, 8, 1}, 5);
  EXPECT_EQ(unet_.predict(x, 77).to_vector(), loaded.model.predict(x, 77).to_vector());
  EXPECT_EQ(loaded.info.kind, "unet");
  EXPECT_EQ(loaded.info.config, json(unet_.config()));
  EXPECT_EQ(loaded.info.diffusion["timesteps"], 1000);
  EXPECT_EQ(loaded.info.parameters, parameter_count(unet_));
  EXPECT_EQ(loaded.info.sha256, io::sha256_of_file(path_));
  for (const Variable* v : variables(loaded.model)) EXPECT_FALSE(v->needs_gradient());
}

TEST_F(CheckpointTest, ARunsFolderStandsForItsModel) {
  write([](ModelInfo&, NamedTensors&) {});
  EXPECT_EQ(load_model<UNet>(folder_.path(), Target::cpu).info.kind, "unet");
  expect_error([&] { load_model<UNet>(folder_ / "absent", Target::cpu); }, "no model at");
}

TEST_F(CheckpointTest, ClassifiersToo) {
  Classifier classifier(tiny_classifier_config(), 1);
  randomise(classifier);
  write_model(path_, info_of(classifier), state_dict(classifier));
  auto loaded = load_model<Classifier>(path_, Target::cpu);
  const Tensor x = testing::random_tensor({2, 8, 8, 1}, 5);
  EXPECT_EQ(classifier.probabilities(x, 77), loaded.model.probabilities(x, 77));
  expect_error([&] { load(); }, "kind is classifier, expected unet");
}

// Values land where PyTorch's layouts say.
TEST_F(CheckpointTest, FileLayoutsArePyTorchs) {
  const auto iota = [](Shape shape) {
    std::vector<float> values(static_cast<size_t>(numel(shape)));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    return Tensor::from(values, std::move(shape));
  };
  const Tensor conv = iota({2, 3, 3, 4});  // [K,R,S,C]
  const Tensor oihw = to_file_layout(conv, FileLayout::oihw);
  ASSERT_EQ(oihw.shape(), Shape({2, 4, 3, 3}));
  for (int64_t k = 0; k < 2; ++k)
    for (int64_t c = 0; c < 4; ++c)
      for (int64_t r = 0; r < 9; ++r)
        EXPECT_EQ(oihw.data()[(k * 4 + c) * 9 + r], conv.data()[(k * 9 + r) * 4 + c]);
  const Tensor position = iota({3, 2});
  EXPECT_EQ(to_file_layout(position, FileLayout::transposed).to_vector(),
            std::vector<float>({0, 2, 4, 1, 3, 5}));
  EXPECT_EQ(to_file_layout(position, FileLayout::conv1d).shape(), Shape({3, 2, 1}));
  for (const auto& [value, layout] :
       {std::pair{conv, FileLayout::oihw}, std::pair{position, FileLayout::transposed},
        std::pair{position, FileLayout::conv1d}}) {
    Parameter back{Variable(Tensor::zeros(value.shape())), layout};
    copy_from_file_layout("x", to_file_layout(value, layout), back);
    EXPECT_EQ(back.variable.value().to_vector(), value.to_vector());
  }
}

TEST_F(CheckpointTest, TensorsThatDoNotFitAreRefused) {
  const std::string name = "middle_block.1.qkv.weight";
  write([&](ModelInfo&, NamedTensors& state) { state.erase(name); });
  expect_error([&] { load(); }, "(1 difference): \"" + name + "\" is missing");
  write([&](ModelInfo&, NamedTensors& state) { state["class_embed"] = Tensor::zeros({3}); });
  expect_error([&] { load(); }, "\"class_embed\" [3] has no place");
  write([&](ModelInfo&, NamedTensors& state) { state[name] = Tensor::zeros({96, 32}); });
  expect_error([&] { load(); }, "is f32 [96, 32], not f32 [");
  write([&](ModelInfo&, NamedTensors& state) {
    state[name] = Tensor::from(std::vector<int64_t>(96 * 32), {96, 32, 1});
  });
  expect_error([&] { load(); }, ", not f32 [");
  write([&](ModelInfo&, NamedTensors& state) {
    for (const char* gone : {"out.0.bias", "out.0.weight", "out.2.bias"}) state.erase(gone);
    state["surplus"] = Tensor::zeros({1});
  });
  expect_error([&] { load(); }, "(4 differences): \"out.0.weight\" is missing; \"out.0.bias\"");
}

TEST_F(CheckpointTest, ValuesThatAreNotFiniteAreRefused) {
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    write([&](ModelInfo&, NamedTensors& state) { state["out.2.bias"] = Tensor::full({1}, bad); });
    expect_error([&] { load(); }, "\"out.2.bias\"");
  }
}

TEST_F(CheckpointTest, HostileConfigurationsAreRefusedBeforeTheyCostMemory) {
  const auto refused = [&](const char* key, const json& value, std::string_view part) {
    SCOPED_TRACE(std::string(key) + " = " + value.dump());
    write([&](ModelInfo& info, NamedTensors&) { info.config[key] = value; });
    expect_error([&] { load(); }, part);
  };
  refused("model_channels", 4096, "values or more");
  refused("model_channels", 1e18, "model_channels");
  refused("model_channels", 31, "multiple of 'norm_groups' = 32");
  refused("model_channels", -32, "must be an integer");
  refused("model_channels", 32.5, "must be an integer");
  refused("model_channels", "32", "unusable");
  refused("model_channels", nullptr, "unusable");
  refused("channel_mult", json::array(), "entries");
  refused("channel_mult", {1, 64}, "values or more");
  refused("channel_mult", {1, -1}, "channel_mult");
  refused("channel_mult", {1, 1.5}, "48 channels");
  refused("channel_mult", {1, 1, 1, 1, 1, 1, 1, 1, 1}, "entries");
  refused("channel_mult", {1, 1, 1, 1, 1}, "cannot be halved");
  refused("num_res_blocks", 16, "values or more");
  refused("num_res_blocks", 0, "num_res_blocks");
  refused("in_channels", 1 << 30, "in_channels");
  refused("image_size", 0, "image_size");
  refused("heads", 5, "heads");
  refused("dropout", 1.0, "dropout");
  refused("dropout", -0.1, "dropout");
  refused("colour", 1, "unknown entry 'colour'");
  write([](ModelInfo& info, NamedTensors&) { info.config.erase("heads"); });
  expect_error([&] { load(); }, "lacks 'heads'");
  write([](ModelInfo& info, NamedTensors&) { info.config = json::array(); });
  expect_error([&] { load(); }, "not a JSON object");
  write([](ModelInfo& info, NamedTensors&) { info.kind = "dragon"; });
  expect_error([&] { load(); }, "kind is dragon");
}

TEST_F(CheckpointTest, HostileClassifierConfigurationsAreRefusedBeforeTheyCostMemory) {
  Classifier classifier(tiny_classifier_config(), 1);
  const auto refused = [&](const char* key, const json& value, std::string_view part) {
    SCOPED_TRACE(std::string(key) + " = " + value.dump());
    ModelInfo info = info_of(classifier);
    info.config[key] = value;
    write_model(path_, info, state_dict(classifier));
    expect_error([&] { load_model<Classifier>(path_, Target::cpu); }, part);
  };
  refused("image_size", 4096, "values or more");  // the positions of the attention pool
  refused("classes", 100000, "values or more");
  refused("classes", 0, "classes");
  refused("model_channels", 4096, "values or more");
  refused("head_channels", 48, "head_channels");
  refused("image_size", 1, "cannot be halved");
}

TEST_F(CheckpointTest, FilesThatAreNotModelsAreRefused) {
  testing::expect_strangers_refused(folder_ / "x.safetensors", [&] {
    if (std::filesystem::is_directory(folder_ / "x.safetensors"))
      fail("x.safetensors is a directory");  // which read_model takes for a run
    read_model(folder_ / "x.safetensors");
  });
  io::Safetensors other;
  other.tensors["weight"] = Tensor::zeros({2});
  io::write_safetensors(path_, other);
  expect_error([&] { load(); }, "is not a diffscm model");
  for (const char* key : {"config", "diffusion", "data", "training"}) {
    write([](ModelInfo&, NamedTensors&) {});
    io::Safetensors file = io::read_safetensors(path_);
    file.metadata.erase(key);
    io::write_safetensors(path_, file);
    expect_error([&] { load(); }, key);
    file.metadata[key] = "{\"a\": ";
    io::write_safetensors(path_, file);
    expect_error([&] { load(); }, key);
  }
}

TEST_F(CheckpointTest, TruncatedAndDamagedFilesAreErrorsNotCrashes) {
  write([](ModelInfo&, NamedTensors&) {});
  const std::string bytes = testing::get(path_);
  testing::expect_truncations_refused(
      path_, bytes, [&] { load(); }, 12);
  // Flips within the header: the first kilobytes say what everything else means.
  const std::string header = bytes.substr(0, 2000);
  for (size_t bit = 3; bit < header.size() * 8; bit += 211) {
    SCOPED_TRACE("bit " + std::to_string(bit));
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    testing::put(path_, damaged);
    try {
      load();
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace diffscm
