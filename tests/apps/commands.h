// What the tests of the commands share: a tiny data set, a preset and trained models, made once,
// and the arguments that use them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/io/jsonl.h"
#include "engine/io/npz.h"
#include "engine/io/safetensors.h"
#include "tests/apps/program.h"

namespace diffscm {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::Program;
using testing::Result;
using Arguments = std::vector<std::string>;

constexpr int64_t kSide = 8, kImages = 12;

constexpr const char* kPreset = R"(
[unet]
image_size = 8
in_channels = 1
out_channels = 1
model_channels = 32
channel_mult = [1, 1]
num_res_blocks = 1
attention_downsample = []
heads = 1
dropout = 0.1

[classifier]
image_size = 8
in_channels = 1
classes = 10
model_channels = 32
channel_mult = [1, 1]
num_res_blocks = 1
head_channels = 32
dropout = 0.0

[diffusion]
schedule = "linear"
timesteps = 1000
sampling_steps = 5

[train.diffusion]
steps = 30
batch = 4
lr = 2e-3
weight_decay = 0.01
ema_decay = 0.9
warmup_steps = 2
cosine_decay = false
loss = "uniform"
shift = 0

[train.classifier]
steps = 300
batch = 12
lr = 5e-3
weight_decay = 0.0
ema_decay = 0.9
warmup_steps = 0
cosine_decay = false
match = 0.0
)";

inline constexpr const char* kJudges = R"(
[vae]
image_size = 8
in_channels = 1
channels = [8]
latent = 3

[oracle]
image_size = 8
in_channels = 1
classes = 10
channels = [8, 16]
features = 8

[autoencoders]
image_size = 8
in_channels = 1
classes = 10

[train.vae]
steps = 20
batch = 4
lr = 2e-3
weight_decay = 0.0
ema_decay = 0.9
warmup_steps = 0
cosine_decay = false
beta = 0.25

[train.oracle]
steps = 20
batch = 4
lr = 2e-3
weight_decay = 0.0
ema_decay = 0.9
warmup_steps = 0
cosine_decay = false

[train.autoencoder]
epochs_per_class = 3
epochs_of_all = 2
batch = 4
lr = 1e-3
weight_decay = 0.0
ema_decay = 0.0
warmup_steps = 0
cosine_decay = false
)";

// Blobs whose place tells their class.
inline void write_data(const fs::path& path, int64_t side) {
  std::vector<float> pixels;
  std::vector<int64_t> labels;
  for (int64_t n = 0; n < kImages; ++n) {
    labels.push_back(n % 10);
    for (int64_t y = 0; y < side; ++y)
      for (int64_t x = 0; x < side; ++x) {
        const double d = std::hypot(x - side * 0.09 * (n % 10), y - side * 0.4 - 0.1 * n);
        pixels.push_back(static_cast<float>(2 * std::exp(-d * d / 4) - 1));
      }
  }
  io::write_npz(path, {{"images", io::NpyArray::from(pixels, {kImages, side, side, 1})},
                       {"labels", io::NpyArray::from(labels, {kImages})}});
}

// The folder that all tests share: data, preset, and one trained model of each kind.
class World {
 public:
  static World& get() {
    static World world;
    return world;
  }
  fs::path operator/(const std::string& name) const { return folder_ / name; }
  const fs::path& path() const { return folder_.path(); }
  std::string data() const { return folder_ / "data.npz"; }
  std::string preset() const { return folder_ / "preset.toml"; }
  std::string unet() const { return folder_ / "unet"; }
  std::string classifier() const { return folder_ / "classifier"; }

 private:
  World() {
    write_data(data(), kSide);
    testing::put(preset(), kPreset);
    for (const auto& [kind, out] :
         {std::pair{"diffusion", unet()}, std::pair{"classifier", classifier()}}) {
      const Result r = Program(path(), {"train", kind, "--preset", preset(), "--data", data(),
                                        "--out", out, "--device", "cpu", "--quiet"})
                           .wait();
      if (r.code != 0) throw std::runtime_error("cannot train the models of these tests: " + r.err);
    }
  }

  testing::TemporaryFolder folder_;
};

inline World& world() {
  return World::get();
}

inline Result diffscm(const Arguments& arguments) {
  return Program(world().path(), arguments).wait();
}

inline Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// A new output folder, not yet made.
inline std::string fresh() {
  static int count = 0;
  return world() / ("out" + std::to_string(++count));
}

inline bool is_empty(const fs::path& out) {
  return !fs::exists(out) || fs::is_empty(out);
}

inline void expect_success(const Result& r) {
  ASSERT_EQ(r.code, 0) << r.err;
}

// One line on stderr, nothing on stdout.
inline void expect_failure(const Result& r, int code, std::string_view part) {
  EXPECT_EQ(r.code, code) << r.err;
  EXPECT_EQ(r.err.find("diffscm: "), 0u) << r.err;
  EXPECT_NE(r.err.find(part), std::string::npos) << r.err << "does not contain: " << part;
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
  EXPECT_EQ(r.err.empty() ? ' ' : r.err.back(), '\n');
  EXPECT_EQ(r.out, "");
}

inline json read_json(const fs::path& path) {
  return json::parse(testing::get(path));
}

inline Arguments train(const std::string& kind, const std::string& out) {
  return {"train", kind, "--preset", world().preset(), "--data", world().data(), "--out", out};
}
inline Arguments train_judge(const char* kind, const std::string& out) {
  const fs::path preset = world() / "judges.toml";
  testing::put(preset, kJudges);
  return {"train", kind, "--preset", preset, "--data", world().data(), "--out", out, "--quiet"};
}
inline Arguments counterfactual(const std::string& out) {
  return {"counterfactual",
          "--model",
          world().unet(),
          "--classifier",
          world().classifier(),
          "--data",
          world().data(),
          "--index",
          "0:6",
          "--out",
          out,
          "--do",
          "digit=5"};
}
inline Arguments abduct(const std::string& out) {
  return {"abduct",  "--model", world().unet(), "--data", world().data(),
          "--index", "0:6",     "--out",        out};
}
inline Arguments sample(const std::string& out) {
  return {"sample", "--model", world().unet(), "--count", "3", "--out", out};
}
inline Arguments guided(const std::string& wanted) {
  return {"--classifier", world().classifier(), "--class", wanted};
}

inline void expect_same_models(const fs::path& a, const fs::path& b) {
  const auto x = io::read_safetensors(a / "model.safetensors").tensors,
             y = io::read_safetensors(b / "model.safetensors").tensors;
  ASSERT_EQ(x.size(), y.size());
  for (const auto& [name, tensor] : x)
    EXPECT_EQ(tensor.to_vector(), y.at(name).to_vector()) << name;
}

inline void expect_close(const io::NpyArray& a, const io::NpyArray& b, float tolerance) {
  ASSERT_EQ(a.shape, b.shape);
  const std::vector<float> x = a.to_floats(), y = b.to_floats();
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], tolerance) << i;
}

inline void expect_image_range(const io::NpyArray& array) {
  for (const float v : array.to_floats()) ASSERT_TRUE(v >= -1 && v <= 1) << v;
}

}  // namespace diffscm
