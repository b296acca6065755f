// Every subcommand end to end, on networks so small that a whole run takes a moment.
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/io/jsonl.h"
#include "engine/io/npz.h"
#include "engine/io/safetensors.h"
#include "tests/apps/program.h"

namespace diffscm {
namespace {

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

[train.classifier]
steps = 30
batch = 4
lr = 2e-3
weight_decay = 0.0
ema_decay = 0.9
warmup_steps = 0
cosine_decay = false
)";

// Blobs whose place tells their class.
void write_data(const fs::path& path, int64_t side) {
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
                                        "--out", out, "--quiet"})
                           .wait();
      if (r.code != 0) throw std::runtime_error("cannot train the models of these tests: " + r.err);
    }
  }

  testing::TemporaryFolder folder_;
};

World& world() {
  return World::get();
}

Result diffscm(const Arguments& arguments) {
  return Program(world().path(), arguments).wait();
}

Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// A new output folder, not yet made.
std::string fresh() {
  static int count = 0;
  return world() / ("out" + std::to_string(++count));
}

bool is_empty(const fs::path& out) {
  return !fs::exists(out) || fs::is_empty(out);
}

void expect_success(const Result& r) {
  ASSERT_EQ(r.code, 0) << r.err;
}

// One line on stderr, nothing on stdout.
void expect_failure(const Result& r, int code, std::string_view part) {
  EXPECT_EQ(r.code, code) << r.err;
  EXPECT_EQ(r.err.find("diffscm: "), 0u) << r.err;
  EXPECT_NE(r.err.find(part), std::string::npos) << r.err << "does not contain: " << part;
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
  EXPECT_EQ(r.err.empty() ? ' ' : r.err.back(), '\n');
  EXPECT_EQ(r.out, "");
}

json read_json(const fs::path& path) {
  return json::parse(testing::get(path));
}

Arguments train(const std::string& kind, const std::string& out) {
  return {"train", kind, "--preset", world().preset(), "--data", world().data(), "--out", out};
}
Arguments counterfactual(const std::string& out) {
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
Arguments abduct(const std::string& out) {
  return {"abduct",  "--model", world().unet(), "--data", world().data(),
          "--index", "0:6",     "--out",        out};
}
Arguments sample(const std::string& out) {
  return {"sample", "--model", world().unet(), "--count", "3", "--out", out};
}
Arguments guided(const std::string& wanted) {
  return {"--classifier", world().classifier(), "--class", wanted};
}

void expect_same_models(const fs::path& a, const fs::path& b) {
  const auto x = io::read_safetensors(a / "model.safetensors").tensors,
             y = io::read_safetensors(b / "model.safetensors").tensors;
  ASSERT_EQ(x.size(), y.size());
  for (const auto& [name, tensor] : x)
    EXPECT_EQ(tensor.to_vector(), y.at(name).to_vector()) << name;
}

void expect_close(const io::NpyArray& a, const io::NpyArray& b, float tolerance) {
  ASSERT_EQ(a.shape, b.shape);
  const std::vector<float> x = a.to_floats(), y = b.to_floats();
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], tolerance) << i;
}

void expect_image_range(const io::NpyArray& array) {
  for (const float v : array.to_floats()) ASSERT_TRUE(v >= -1 && v <= 1) << v;
}

// --------------------------------------------------------------------------------- information

TEST(Information, HelpAndVersionSucceed) {
  for (const Arguments& a :
       {Arguments{"--help"}, Arguments{"train", "--help"},
        Arguments{"train", "diffusion", "--help"}, Arguments{"counterfactual", "-h"},
        Arguments{"sample", "--help"}, Arguments{"abduct", "--help"},
        Arguments{"inspect", "--help"}, Arguments{"targets", "--help"}}) {
    const Result r = diffscm(a);
    EXPECT_EQ(r.code, 0);
    EXPECT_NE(r.out.find("--"), std::string::npos) << a[0];
    EXPECT_EQ(r.err, "");
  }
  const Result version = diffscm({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_EQ(version.out.find("diffscm "), 0u) << version.out;
}

TEST(Information, TargetsListsTheCpusOperators) {
  const Result text = diffscm({"targets"});
  expect_success(text);
  EXPECT_NE(text.out.find("conv2d"), std::string::npos);
  const Result r = diffscm({"targets", "--json"});
  expect_success(r);
  EXPECT_EQ(json::parse(r.out)["cpu"]["conv2d"], true);
}

TEST(Information, InspectDescribesModelsArchivesRunsAndData) {
  const Result model = diffscm({"inspect", world().unet() + "/model.safetensors", "--json"});
  expect_success(model);
  const json m = json::parse(model.out);
  EXPECT_EQ(m["metadata"]["kind"], "unet");
  EXPECT_EQ(m["metadata"]["config"]["model_channels"], 32);
  EXPECT_EQ(m["sha256"], io::sha256_of_file(world().unet() + "/model.safetensors"));
  EXPECT_EQ(m["tensors"]["out.2.weight"], "[1, 32, 3, 3]");

  const Result npz = diffscm({"inspect", world().data(), "--json"});
  expect_success(npz);
  EXPECT_EQ(json::parse(npz.out)["arrays"]["images"], "float32 [12, 8, 8, 1]");

  const Result run = diffscm({"inspect", world().classifier(), "--json"});
  expect_success(run);
  EXPECT_EQ(json::parse(run.out)["evaluation.json"]["end"], "finished");
  EXPECT_EQ(json::parse(run.out)["model"]["metadata"]["kind"], "classifier");

  const Result text = diffscm({"inspect", world().unet()});
  expect_success(text);
  EXPECT_NE(text.out.find("kind: unet"), std::string::npos) << text.out;
}

TEST(Information, InspectRefusesWhatItDoesNotKnow) {
  expect_failure(diffscm({"inspect", "nowhere.safetensors"}), 1, "nowhere.safetensors");
  expect_failure(diffscm({"inspect", world().preset()}), 1, "cannot inspect");
  expect_failure(diffscm({"inspect"}), 2, "what");
}

// ------------------------------------------------------------------------------------ training

TEST(Train, LeavesAModelALogAndItsConfiguration) {
  const fs::path run = world().unet();
  for (const char* file : {"model.safetensors", "checkpoint.safetensors", "log.jsonl",
                           "config.json", "evaluation.json"})
    EXPECT_TRUE(fs::exists(run / file)) << file;
  const auto log = io::read_jsonl(run / "log.jsonl");
  ASSERT_EQ(log.size(), 2u);  // every 20 steps, and the last
  EXPECT_EQ(log.back()["step"], 30);
  EXPECT_EQ(read_json(run / "config.json")["unet"]["image_size"], 8);
  const auto metadata = io::read_safetensors(run / "model.safetensors").metadata;
  const json training = json::parse(metadata.at("training"));
  EXPECT_EQ(training["samples_seen"], 120);
  EXPECT_NE(training["command"].get<std::string>().find("train diffusion"), std::string::npos);
  EXPECT_EQ(json::parse(metadata.at("data"))["size"], kImages);
}

TEST(Train, TheClassifierReportsItsAccuracyByNoiseLevel) {
  const json levels =
      read_json(fs::path(world().classifier()) / "evaluation.json")["accuracy_by_noise_level"];
  ASSERT_EQ(levels.size(), 11u);
  EXPECT_EQ(levels.front()["timestep"], 0);
  EXPECT_EQ(levels.back()["timestep"], 999);
  for (const json& l : levels) EXPECT_TRUE(l["accuracy"] >= 0 && l["accuracy"] <= 1);
}

TEST(Train, FlagsOverrideThePreset) {
  const std::string out = fresh();
  const Result r =
      diffscm(train("diffusion", out) +
              Arguments{"--steps", "4", "--batch", "2", "--seed", "9", "--log-every", "1", "--set",
                        "train.diffusion.lr=5e-4", "--set", "diffusion.schedule=cosine", "--json"});
  expect_success(r);
  EXPECT_EQ(json::parse(r.out)["end"], "finished");
  const auto log = io::read_jsonl(fs::path(out) / "log.jsonl");
  ASSERT_EQ(log.size(), 4u);
  EXPECT_EQ(log[3]["lr"], 5e-4);
  const auto metadata = io::read_safetensors(fs::path(out) / "model.safetensors").metadata;
  EXPECT_EQ(json::parse(metadata.at("training"))["seed"], 9);
  EXPECT_EQ(json::parse(metadata.at("diffusion"))["schedule"], "cosine");
}

TEST(Train, ThePresetsHaveTheParametersOfDiffScm) {
  const fs::path data = world() / "data28.npz";
  write_data(data, 28);
  for (const auto& [preset, kind, count] : {std::tuple{"mnist-fast", "diffusion", "1140929"},
                                            {"mnist-paper", "diffusion", "10601473"}}) {
    const std::string out = fresh();
    const Result r = diffscm({"train", kind, "--preset", preset, "--data", data, "--out", out,
                              "--steps", "1", "--batch", "1"});
    expect_success(r);
    EXPECT_NE(r.err.find(std::string(count) + " parameters"), std::string::npos) << r.err;
    fs::remove_all(out);
  }
}

TEST(Train, TheTinyPresetLearnsFromTheBuiltInDigits) {
  const std::string out = fresh();
  expect_success(diffscm({"train", "diffusion", "--preset", "tiny", "--data", "digits", "--out",
                          out, "--steps", "4", "--batch", "4", "--quiet"}));
  expect_success(diffscm({"abduct", "--model", out, "--data", "digits", "--index", "3,5", "--out",
                          fresh(), "--steps", "2", "--quiet"}));
  const Result r = diffscm({"inspect", "digits", "--json"});
  expect_success(r);
  EXPECT_EQ(json::parse(r.out)["test"]["images_per_class"].size(), 10u);
}

TEST(Train, KilledAndResumedEndsWithTheSameModel) {
  const std::string whole = fresh(), parts = fresh();
  const Arguments flags{"--steps", "60", "--checkpoint-every", "5", "--log-every", "1", "--quiet"};
  expect_success(diffscm(train("diffusion", whole) + flags));
  Program program(world().path(), train("diffusion", parts) + flags);
  ASSERT_TRUE(program.run_until([&] { return fs::exists(parts + "/checkpoint.safetensors"); }));
  program.signal(SIGKILL);
  ASSERT_EQ(program.wait().code, 1000 + SIGKILL) << "it ended before it could be killed";
  ASSERT_FALSE(fs::exists(parts + "/evaluation.json"));
  expect_success(diffscm(train("diffusion", parts) + flags + Arguments{"--resume"}));
  expect_same_models(whole, parts);
  const auto log = io::read_jsonl(parts + "/log.jsonl");
  ASSERT_EQ(log.size(), 60u);
  for (size_t i = 0; i < 60; ++i) EXPECT_EQ(log[i]["step"], i + 1);
}

TEST(Train, CtrlCSavesACheckpointAndExits130) {
  const std::string out = fresh();
  const Arguments flags{"--steps", "100000", "--log-every", "1"};
  for (const bool resume : {false, true}) {
    Program program(world().path(), train("diffusion", out) + flags +
                                        (resume ? Arguments{"--resume"} : Arguments{}));
    const size_t before = resume ? io::read_jsonl(out + "/log.jsonl").size() : 0;
    ASSERT_TRUE(program.run_until([&] {
      return fs::exists(out + "/log.jsonl") &&
             io::read_jsonl(out + "/log.jsonl").size() > before + 2;
    }));
    program.signal(resume ? SIGTERM : SIGINT);
    const Result r = program.wait();
    EXPECT_EQ(r.code, 130) << r.err;
    EXPECT_NE(r.err.find("--resume"), std::string::npos) << r.err;
    const auto metadata = io::read_safetensors(out + "/model.safetensors").metadata;
    EXPECT_EQ(json::parse(metadata.at("training"))["steps"],
              io::read_jsonl(out + "/log.jsonl").back()["step"]);
  }
}

TEST(Train, ARefusedRunLeavesTheOldOneAsItWas) {
  const std::string out = fresh();
  const Arguments base = train("diffusion", out) + Arguments{"--steps", "2", "--quiet"};
  expect_success(diffscm(base));
  std::map<std::string, std::string> before;
  for (const auto& file : fs::directory_iterator(out))
    before[file.path().string()] = testing::get(file.path());
  const Arguments other{"--set", "train.diffusion.lr=0.5"};
  expect_failure(diffscm(base + other), 1, "add --resume");
  expect_failure(diffscm(base + other + Arguments{"--resume"}), 1, "trained with lr = 0.002");
  for (const auto& [path, bytes] : before) EXPECT_EQ(testing::get(path), bytes) << path;
}

TEST(Train, BadInputIsOneLineAndLeavesNothing) {
  const auto refused = [&](const Arguments& a, int code, std::string_view part) {
    SCOPED_TRACE(part);
    const std::string out = fresh();
    expect_failure(diffscm(a + Arguments{"--out", out}), code, part);
    EXPECT_TRUE(is_empty(out));
  };
  const Arguments diffusion{"train", "diffusion"};
  const Arguments preset{"--preset", world().preset()}, data{"--data", world().data()};
  const Arguments good = diffusion + preset + data;
  refused(diffusion + data, 2, "--preset");
  refused(good + Arguments{"--frobnicate"}, 2, "--frobnicate");
  refused(good + Arguments{"--steps", "0"}, 2, "--steps");
  refused(good + Arguments{"--steps", "many"}, 2, "--steps");
  refused(good + Arguments{"--batch", "-1"}, 2, "--batch");
  refused(good + Arguments{"--seed", "-1"}, 2, "--seed");
  refused(good + Arguments{"--device", "abacus"}, 2, "abacus");
  refused(good + Arguments{"--device", "cuda"}, 1, "cuda");
  refused(good + Arguments{"--precision", "bf16"}, 1, "bf16");
  refused(good + Arguments{"--precision", "f8"}, 2, "f8");
  refused(good + Arguments{"--threads", "-1"}, 2, "-1");
  refused(diffusion + data + Arguments{"--preset", "huge"}, 1, "mnist-fast");
  refused(diffusion + data + Arguments{"--preset", world().data()}, 1, "data.npz");
  refused(diffusion + preset + Arguments{"--data", "nowhere.npz"}, 1, "nowhere.npz");
  refused(diffusion + data + Arguments{"--preset", "mnist-fast"}, 1, "28x28x1");
  const auto set = [&](const std::string& text, int code, std::string_view part) {
    refused(good + Arguments{"--set", text}, code, part);
  };
  set("train.diffusion.lr", 2, "expected name=value");
  set("train.diffusion.speed=1", 2, "no entry");
  set("train.diffusion=1", 2, "is a section");
  set("train.diffusion.lr=fast", 2, "fast");
  set("train.diffusion.batch=1.5", 2, "1.5");
  set("train.diffusion.batch=0", 1, "batch 0");
  set("train.diffusion.warmup_steps=-5", 1, "-5");
  set("train.diffusion.weight_decay=-1", 1, "weight_decay");
  set("train.diffusion.lr=-1", 1, "lr is -1");
  set("diffusion.sampling_steps=0", 1, "0");
  set("diffusion.timesteps=2", 1, "2");
  set("diffusion.schedule=zigzag", 1, "zigzag");
  set("unet.model_channels=33", 1, "33");
  set("unet.model_channels=-32", 1, "-32");
  set("unet.heads=5", 1, "heads");
}

TEST(Train, AClassifierNeedsLabels) {
  const fs::path data = world() / "unlabelled.npz";
  auto arrays = io::read_npz(world().data());
  arrays.erase("labels");
  io::write_npz(data, arrays);
  const std::string out = fresh();
  const Result r = diffscm({"train", "classifier", "--preset", world().preset(), "--data", data,
                            "--out", out, "--quiet"});
  expect_failure(r, 1, "labels");
}

// ------------------------------------------------------------------------------------ sampling

TEST(Sample, EverySamplerDrawsImages) {
  for (const char* sampler : {"ddim", "ddpm", "ode", "sde"}) {
    SCOPED_TRACE(sampler);
    const std::string out = fresh();
    const Result r = diffscm(sample(out) + Arguments{"--sampler", sampler, "--json"});
    expect_success(r);
    EXPECT_EQ(json::parse(r.out)["images"], 3);
    const auto arrays = io::read_npz(out + "/samples.npz");
    EXPECT_EQ(arrays.at("samples").shape, Shape({3, kSide, kSide, 1}));
    expect_image_range(arrays.at("samples"));
    EXPECT_TRUE(fs::exists(out + "/grid.png"));
    EXPECT_EQ(read_json(out + "/run.json")["options"]["sampler"], sampler);
  }
}

TEST(Sample, GuidanceChangesTheImages) {
  for (const char* sampler : {"ddim", "ddpm"}) {
    SCOPED_TRACE(sampler);
    const std::string plain = fresh(), towards = fresh();
    const Arguments with{"--sampler", sampler, "--seed", "4"};
    expect_success(diffscm(sample(plain) + with));
    const Result r =
        diffscm(sample(towards) + with + guided("all") + Arguments{"--scale", "5", "--json"});
    expect_success(r);
    const double rate = json::parse(r.out)["on_target_rate"];
    EXPECT_TRUE(rate >= 0 && rate <= 1);
    const auto a = io::read_npz(plain + "/samples.npz"), b = io::read_npz(towards + "/samples.npz");
    EXPECT_EQ(b.at("target").to_ints(), (std::vector<int64_t>{0, 1, 2}));
    EXPECT_NE(a.at("samples").bytes, b.at("samples").bytes);
  }
}

TEST(Sample, IsAFunctionOfTheSeedAndNotOfTheBatch) {
  std::vector<io::NpyArray> images;
  for (const auto& [batch, seed] :
       {std::pair{"3", "1"}, std::pair{"1", "1"}, std::pair{"3", "2"}}) {
    const std::string out = fresh();
    expect_success(diffscm(
        sample(out) + Arguments{"--sampler", "ddpm", "--batch", batch, "--seed", seed, "--quiet"}));
    images.push_back(io::read_npz(out + "/samples.npz").at("samples"));
  }
  expect_close(images[0], images[1], 1e-3f);
  EXPECT_NE(images[0].bytes, images[2].bytes);
}

TEST(Sample, BadInputIsOneLineAndLeavesNothing) {
  const auto refused = [&](const Arguments& a, int code, std::string_view part) {
    SCOPED_TRACE(part);
    const std::string out = fresh();
    expect_failure(diffscm(sample(out) + a), code, part);
    EXPECT_TRUE(is_empty(out));
  };
  refused({"--sampler", "magic"}, 2, "magic");
  refused({"--count", "0"}, 2, "--count");
  refused({"--steps", "-3"}, 2, "--steps");
  refused({"--class", "3"}, 2, "--class and --classifier");
  refused({"--classifier", world().classifier()}, 2, "--class and --classifier");
  refused(guided("10"), 2, "10");
  refused(guided("cat"), 2, "cat");
  refused(guided("3") + Arguments{"--scale", "-1"}, 2, "-1");
  refused({"--eta", "2"}, 2, "2");
  refused({"--threshold", "soft"}, 2, "soft");
  refused({"--classifier", world().unet(), "--class", "3"}, 1, "not a classifier");
  refused({"--steps", "1001"}, 1, "1001");
}

// ----------------------------------------------------------------------------------- abduction

TEST(Abduct, BothMethodsGiveTheImagesBack) {
  for (const char* method : {"ddim", "fixed-point"}) {
    SCOPED_TRACE(method);
    const bool exact = std::string(method) == "fixed-point";
    const std::string out = fresh();
    const Result r =
        diffscm(abduct(out) + Arguments{"--abduction", method, "--steps", "50", "--json"});
    expect_success(r);
    const json summary = json::parse(r.out);
    EXPECT_EQ(summary["images"], 6);
    EXPECT_EQ(summary["not_converged"], json::array());
    if (exact) {
      EXPECT_LT(summary["roundtrip_l1_max"], 0.05);  // grey levels
    }
    const auto arrays = io::read_npz(out + "/abduction.npz");
    for (const char* name : {"factual", "latent", "reconstruction"})
      EXPECT_EQ(arrays.at(name).shape, Shape({6, kSide, kSide, 1})) << name;
    EXPECT_EQ(arrays.at("label").to_ints(), (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
    if (exact) expect_close(arrays.at("factual"), arrays.at("reconstruction"), 0.02f);
    const auto lines = io::read_jsonl(out + "/results.jsonl");
    ASSERT_EQ(lines.size(), 6u);
    EXPECT_EQ(lines[2]["index"], 2);
    EXPECT_EQ(lines[2]["residual"].is_number(), exact);
    EXPECT_EQ(lines[2]["converged"].is_boolean(), exact);
    EXPECT_GE(lines[2]["evaluations"], 50);
    EXPECT_TRUE(fs::exists(out + "/grid.png"));
  }
}

// Five steps are too few for a round trip of this network: that must be said.
TEST(Abduct, ImagesThatDidNotConvergeAreReported) {
  const std::string out = fresh();
  const Result r = diffscm(abduct(out) + Arguments{"--steps", "5", "--json"});
  expect_success(r);
  std::vector<int64_t> unconverged;
  for (const json& line : io::read_jsonl(out + "/results.jsonl")) {
    if (line["converged"].get<bool>()) continue;
    EXPECT_GT(line["residual"], 1e-4) << line;
    unconverged.push_back(line["index"]);
  }
  EXPECT_FALSE(unconverged.empty());
  EXPECT_EQ(json::parse(r.out)["not_converged"], json(unconverged));
}

TEST(Abduct, BadInputIsOneLineAndLeavesNothing) {
  const auto refused = [&](const Arguments& a, int code, std::string_view part) {
    SCOPED_TRACE(part);
    const std::string out = fresh();
    expect_failure(diffscm(a + Arguments{"--out", out}), code, part);
    EXPECT_TRUE(is_empty(out));
  };
  const Arguments model{"abduct", "--model", world().unet()}, data{"--data", world().data()};
  refused(model, 2, "--data");
  refused(Arguments{"abduct"} + data, 2, "--model");
  refused({"abduct", "--model", "nowhere", "--data", world().data()}, 1, "nowhere");
  refused({"abduct", "--model", world().classifier(), "--data", world().data()}, 1, "not a unet");
  for (const char* index : {"garbage", "1:2:3:4", "-1", "0:13", "12", "3:3", "1e3"}) {
    SCOPED_TRACE(index);
    refused(model + data + Arguments{"--index=" + std::string(index)}, 2, "index");
  }
  refused(model + data + Arguments{"--split", "validation"}, 2, "validation");
  refused(model + data + Arguments{"--fraction", "1.5"}, 2, "1.5");
  refused(model + data + Arguments{"--fraction", "0"}, 2, "0");
  refused(model + data + Arguments{"--tolerance", "-1"}, 2, "-1");
  refused(model + data + Arguments{"--max-iterations", "0"}, 2, "0");
  refused(model + data + Arguments{"--abduction", "guess"}, 2, "guess");
  write_data(world() / "large.npz", 10);
  refused(model + Arguments{"--data", world() / "large.npz"}, 1, "8x8x1");
}

// ------------------------------------------------------------------------------ counterfactuals

TEST(Counterfactual, WritesEverythingItPromises) {
  for (const char* method : {"ddim", "fixed-point"}) {
    SCOPED_TRACE(method);
    const bool exact = std::string(method) == "fixed-point";
    const std::string out = fresh();
    const Result r =
        diffscm(counterfactual(out) + Arguments{"--steps", "50", "--abduction", method, "--scale",
                                                "0,0.7,20", "--seed", "3", "--json"});
    expect_success(r);
    const json summary = json::parse(r.out);
    EXPECT_EQ(summary["scales"].size(), 3u);

    const auto arrays = io::read_npz(out + "/counterfactuals.npz");
    const Shape images{6, kSide, kSide, 1};
    for (const char* name : {"factual", "reconstruction", "latent"})
      EXPECT_EQ(arrays.at(name).shape, images) << name;
    const io::NpyArray& all = arrays.at("counterfactual");
    EXPECT_EQ(all.shape, Shape({3, 6, kSide, kSide, 1}));
    expect_image_range(all);
    EXPECT_EQ(arrays.at("target").to_ints(), std::vector<int64_t>(6, 5));
    EXPECT_EQ(arrays.at("label").to_ints(), (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(arrays.at("scale").to_floats(), (std::vector<float>{0, 0.7f, 20}));
    const auto set = io::read_npz(world().data()).at("images").to_floats();
    const auto factual = arrays.at("factual").to_floats();
    EXPECT_EQ(factual, std::vector<float>(set.begin(), set.begin() + 6 * kSide * kSide));
    // Scale 0 is the reconstruction, and a large scale is not.
    const size_t size = 6 * kSide * kSide;
    const auto values = all.to_floats(), reconstruction = arrays.at("reconstruction").to_floats();
    EXPECT_EQ(std::vector<float>(values.begin(), values.begin() + size), reconstruction);
    EXPECT_NE(std::vector<float>(values.end() - size, values.end()), reconstruction);

    const auto lines = io::read_jsonl(out + "/results.jsonl");
    ASSERT_EQ(lines.size(), 18u);
    for (size_t i = 0; i < lines.size(); ++i) {
      const json& line = lines[i];
      EXPECT_EQ(line["index"], i / 3);
      EXPECT_EQ(line["label"], i / 3);
      EXPECT_EQ(line["target"], 5);
      EXPECT_DOUBLE_EQ(line["scale"], (std::vector<double>{0, 0.7, 20})[i % 3]);
      EXPECT_EQ(line["residual"].is_number(), exact);
      EXPECT_EQ(line["converged"].is_boolean(), exact);
      EXPECT_TRUE(line["predicted"] >= 0 && line["predicted"] < 10);
      EXPECT_TRUE(line["p_target"] >= 0 && line["p_target"] <= 1);
      EXPECT_TRUE(line["roundtrip_l1"] >= 0 && line["roundtrip_l1"] < 255);
      EXPECT_TRUE(line["l1"] >= 0 && line["l1"] < 255);
    }
    if (exact) {
      EXPECT_LT(lines[0]["l1"], 0.05) << "scale 0 must return the factual image";
    }

    const json run = read_json(out + "/run.json");
    EXPECT_EQ(run["seed"], 3);
    EXPECT_EQ(run["device"], "cpu");
    EXPECT_EQ(run["options"]["do"], "digit=5");
    EXPECT_EQ(run["options"]["abduction"], method);
    ASSERT_EQ(run["models"].size(), 2u);
    for (const auto& [i, folder] :
         {std::pair{0, world().unet()}, std::pair{1, world().classifier()}})
      EXPECT_EQ(run["models"][i]["sha256"],
                io::sha256_of_file(fs::path(folder) / "model.safetensors"));
    EXPECT_EQ(run["summary"]["images"], 6);
    EXPECT_TRUE(fs::exists(out + "/grid.png"));
    EXPECT_EQ(diffscm({"inspect", out, "--json"}).code, 0);
  }
}

TEST(Counterfactual, OneScaleGivesArraysOfTheDocumentedShape) {
  const std::string out = fresh();
  const Result r = diffscm(counterfactual(out) + Arguments{"--scale", "0.7", "--fraction", "0.6"});
  expect_success(r);
  EXPECT_NE(r.out.find("flip rate"), std::string::npos) << r.out;
  EXPECT_EQ(io::read_npz(out + "/counterfactuals.npz").at("counterfactual").shape,
            Shape({6, kSide, kSide, 1}));
  EXPECT_EQ(read_json(out + "/run.json")["options"]["levels"], 3);
}

TEST(Counterfactual, DoesNotDependOnTheBatch) {
  std::vector<io::NpyArrays> results;
  for (const char* batch : {"1", "4", "32"}) {
    const std::string out = fresh();
    expect_success(
        diffscm(counterfactual(out) + Arguments{"--batch", batch, "--scale", "0.7,3", "--quiet"}));
    results.push_back(io::read_npz(out + "/counterfactuals.npz"));
  }
  for (const char* name : {"reconstruction", "counterfactual", "latent"}) {
    SCOPED_TRACE(name);
    expect_close(results[0].at(name), results[1].at(name), 1e-3f);
    expect_close(results[0].at(name), results[2].at(name), 1e-3f);
  }
}

TEST(Counterfactual, CtrlCExits130AndLeavesNoResults) {
  const std::string out = fresh();
  Program program(world().path(), counterfactual(out) + Arguments{"--steps", "1000"});
  ASSERT_TRUE(program.run_until([&] { return fs::exists(out); }));
  program.signal(SIGINT);
  const Result r = program.wait();
  EXPECT_EQ(r.code, 130) << r.err;
  EXPECT_NE(r.err.find("diffscm: stopped\n"), std::string::npos) << r.err;
  EXPECT_TRUE(is_empty(out));
}

TEST(Counterfactual, BadInputIsOneLineAndLeavesNothing) {
  const auto refused = [&](const Arguments& a, int code, std::string_view part) {
    SCOPED_TRACE(part);
    const std::string out = fresh();
    expect_failure(diffscm(a + Arguments{"--out", out}), code, part);
    EXPECT_TRUE(is_empty(out));
  };
  const auto with = [&](const std::string& model, const std::string& classifier) {
    return Arguments{"counterfactual", "--model",      model,     "--classifier", classifier,
                     "--data",         world().data(), "--index", "0:2"};
  };
  const Arguments base = with(world().unet(), world().classifier());
  const auto intervention = [&](const std::string& text, std::string_view part) {
    SCOPED_TRACE(text);
    refused(base + Arguments{"--do", text}, 2, part);
  };
  refused(base, 2, "--do");
  intervention("digit=10", "0 to 9");
  intervention("digit=-1", "0 to 9");
  intervention("digit=five", "five");
  intervention("digit=", "0 to 9");
  intervention("digit=99999999999999999999", "0 to 9");
  intervention("digit", "digit=VALUE");
  intervention("foo=1", "foo=1");
  intervention("a\nb", "a b");
  const Arguments good = base + Arguments{"--do", "digit=5"};
  refused(good + Arguments{"--scale", "-1"}, 2, "-1");
  refused(good + Arguments{"--scale", "nan"}, 2, "nan");
  refused(good + Arguments{"--scale", "0.1,x"}, 2, "--scale");
  refused(good + Arguments{"--batch", "0"}, 2, "--batch");
  refused(with(world().classifier(), world().unet()) + Arguments{"--do", "digit=5"}, 1,
          "holds a classifier");
  refused(with(world().unet(), world().unet()) + Arguments{"--do", "digit=5"}, 1, "holds a unet");
  refused(with(world().preset(), world().classifier()) + Arguments{"--do", "digit=5"}, 1,
          "preset.toml");
}

TEST(Counterfactual, RefusesAClassifierOfAnotherDiffusion) {
  const std::string classifier = fresh(), out = fresh();
  expect_success(
      diffscm(train("classifier", classifier) +
              Arguments{"--steps", "1", "--set", "diffusion.schedule=cosine", "--quiet"}));
  expect_failure(diffscm({"counterfactual", "--model", world().unet(), "--classifier", classifier,
                          "--data", world().data(), "--do", "digit=5", "--out", out}),
                 1, "schedule");
  EXPECT_TRUE(is_empty(out));
}

// ------------------------------------------------------------------- what every command shares

TEST(Program, UsageErrorsExitWith2) {
  expect_failure(diffscm({}), 2, "subcommand");
  expect_failure(diffscm({"fly"}), 2, "fly");
  expect_failure(diffscm({"--frobnicate"}), 2, "--frobnicate");
  expect_failure(diffscm({"train"}), 2, "subcommand");
  expect_failure(diffscm({"train", "dragon"}), 2, "dragon");
  expect_failure(diffscm({"targets", "extra"}), 2, "extra");
  expect_failure(diffscm({"targets", "--threads", "two"}), 2, "--threads");
}

TEST(Program, ReadsFlagsFromAFileAndTheCommandLineWins) {
  const std::string config = world() / "flags.toml", out = fresh();
  testing::put(config, "model = \"" + world().unet() + "\"\ncount = 3\nquiet = true\nseed = 8\n");
  const Result r = diffscm({"sample", "--config", config, "--out", out, "--seed", "9"});
  expect_success(r);
  EXPECT_EQ(r.out + r.err, "");
  EXPECT_EQ(read_json(out + "/run.json")["seed"], 9);
  EXPECT_EQ(io::read_npz(out + "/samples.npz").at("samples").shape[0], 3);

  testing::put(config, "scale = [0.5, 2.0]\ndo = \"digit=3\"\njson = true\n");
  Arguments a = counterfactual(fresh());
  a.resize(a.size() - 2);  // without --do
  const Result several = diffscm(a + Arguments{"--config=" + config});
  expect_success(several);
  EXPECT_EQ(json::parse(several.out)["scales"][1]["scale"], 2.0);
}

TEST(Program, BadFlagFilesAreErrors) {
  const std::string config = world() / "bad.toml", out = fresh();
  const auto refused = [&](std::string_view text, int code, std::string_view part) {
    testing::put(config, text);
    expect_failure(diffscm(sample(out) + Arguments{"--config", config}), code, part);
    EXPECT_TRUE(is_empty(out));
  };
  refused("colour = 3\n", 2, "--colour");
  refused("sampler = \"magic\"\n", 2, "magic");
  refused("steps = = 3\n", 1, "line 1");
  refused("[sample]\nsteps = 3\n", 1, "sample");
  fs::remove(config);
  expect_failure(diffscm(sample(out) + Arguments{"--config", config}), 1, "bad.toml");
}

TEST(Program, DamagedModelsAreOneLineOrHarmless) {
  const std::string bytes = testing::get(world().unet() + "/model.safetensors");
  const std::string model = world() / "damaged.safetensors";
  const auto run = [&](const std::string& damaged) {
    testing::put(model, damaged);
    const std::string out = fresh();
    const Result r = diffscm({"sample", "--model", model, "--count", "1", "--out", out, "--quiet"});
    EXPECT_TRUE(r.code == 0 || r.code == 1) << r.code << r.err;
    if (r.code == 1) {
      expect_failure(r, 1, "damaged.safetensors");
      EXPECT_TRUE(is_empty(out));
    }
    return r.code;
  };
  for (const size_t length : {size_t{0}, size_t{5}, size_t{1000}, bytes.size() - 1})
    EXPECT_EQ(run(bytes.substr(0, length)), 1) << length;
  EXPECT_EQ(run(bytes + "x"), 1);
  for (size_t bit = 5; bit < 1500 * 8; bit += 1499) {
    SCOPED_TRACE("bit " + std::to_string(bit));
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    run(damaged);
  }
}

TEST(Program, HostileMetadataIsRefused) {
  io::Safetensors file = io::read_safetensors(world().unet() + "/model.safetensors");
  const std::string model = world() / "hostile.safetensors";
  const auto refused = [&](const char* key, const char* value, std::string_view part) {
    SCOPED_TRACE(value);
    io::Safetensors hostile = file;
    hostile.metadata[key] = value;
    io::write_safetensors(model, hostile);
    expect_failure(diffscm({"sample", "--model", model, "--out", fresh()}), 1, part);
  };
  refused("diffusion", "{}", "sampling_steps");
  refused("diffusion", R"({"schedule": "linear", "timesteps": 2000000000, "sampling_steps": 5})",
          "2000000000");
  refused("diffusion", R"({"schedule": "linear", "timesteps": 1000, "sampling_steps": -5})", "-5");
  refused("diffusion", R"({"schedule": 7, "timesteps": 1000, "sampling_steps": 5})", "schedule");
  refused("kind", "dragon", "dragon");
  refused("config", "{", "config");
}

TEST(Program, PathsThatAreNotUtf8AreFine) {
  const std::string out = fresh() + "\xff";
  const Result r = diffscm(sample(out));
  expect_success(r);
  EXPECT_TRUE(read_json(out + "/run.json")["command"].is_string());
  const std::string run = fresh() + "\xff";
  const Result trained = diffscm(train("diffusion", run) + Arguments{"--steps", "1", "--json"});
  expect_success(trained);
  EXPECT_TRUE(json::parse(trained.out).is_object());
  EXPECT_EQ(diffscm({"inspect", run, "--json"}).code, 0);
}

TEST(Program, AnOutputFolderThatCannotBeMadeIsAnError) {
  expect_failure(diffscm(sample(world().data() + "/folder")), 1, "data.npz");
}

}  // namespace
}  // namespace diffscm
