// diffscm train regressor, train classifier --attribute, and counterfactual guided by both.
#include "models/regressor.h"

#include "models/checkpoint.h"
#include "tests/apps/networks.h"

namespace diffscm {
namespace {

constexpr const char* kPredictors = R"(
[classifier]
image_size = 8
in_channels = 1
classes = 2
model_channels = 32
channel_mult = [1, 1]
num_res_blocks = 1
head_channels = 32
dropout = 0.0

[regressor]
image_size = 8
in_channels = 1
model_channels = 16
channel_mult = [1, 1]
num_res_blocks = 1
head_channels = 16
dropout = 0.0
norm_groups = 4

[diffusion]
schedule = "linear"
timesteps = 1000
sampling_steps = 5

[train.classifier]
steps = 60
batch = 12
lr = 5e-3
weight_decay = 0.0
ema_decay = 0.9
warmup_steps = 0
cosine_decay = false

[train.regressor]
steps = 200
batch = 12
lr = 5e-3
weight_decay = 0.0
ema_decay = 0.9
warmup_steps = 0
cosine_decay = false
shift = 0
)";

// Images as bright as `light` says, in grey levels from 40 to 205, the left or the right half more
// than the other; their first category, `kind`, says nothing.
std::string known_data() {
  std::vector<float> pixels, light, shade;
  std::vector<int64_t> kind, side;
  for (int64_t n = 0; n < kImages; ++n) {
    light.push_back(40 + 15 * static_cast<float>(n));
    shade.push_back(255 - light.back());
    kind.push_back(n % 3);
    side.push_back(n % 2);
    for (int64_t y = 0; y < kSide; ++y)
      for (int64_t x = 0; x < kSide; ++x)
        pixels.push_back(light.back() / 127.5f - 1 + (x / 4 == side.back() ? 0.3f : -0.3f));
  }
  const std::string path = world() / "known.npz";
  io::write_npz(path, {{"images", io::NpyArray::from(pixels, {kImages, kSide, kSide, 1})},
                       {"flat", io::NpyArray::from(std::vector<float>(kImages, 3), {kImages})},
                       {"shade", io::NpyArray::from(shade, {kImages})},
                       {"kind", io::NpyArray::from(kind, {kImages})},
                       {"light", io::NpyArray::from(light, {kImages})},
                       {"side", io::NpyArray::from(side, {kImages})}});
  return path;
}

Arguments train_predictor(const char* kind, const std::string& attribute, const std::string& out) {
  testing::put(world() / "predictors.toml", kPredictors);
  return {"train",       kind,         "--preset", world() / "predictors.toml",
          "--data",      known_data(), "--out",    out,
          "--attribute", attribute};
}

// Trained once.
const std::string& regressor() {
  static const std::string run = [] {
    const std::string out = fresh();
    expect_success(diffscm(train_predictor("regressor", "light", out) + Arguments{"--quiet"}));
    return out;
  }();
  return run;
}

Arguments ask(const std::string& intervention, const std::string& out) {
  return {"counterfactual", "--model",   world().unet(), "--data", known_data(),
          "--index",        "0:3",       "--steps",      "5",      "--abduction",
          "ddim",           "--device",  "cpu",          "--out",  out,
          "--do",           intervention};
}

TEST(TrainRegressor, ReportsItsErrorByNoiseLevelAndKeepsIt) {
  const json evaluation = read_json(fs::path(regressor()) / "evaluation.json");
  const double deviation = std::sqrt((12 * 12 - 1) / 12.0) * 15;  // of 40, 55, ..
  EXPECT_EQ(evaluation["attribute"], "light");
  EXPECT_NEAR(evaluation["deviation"], deviation, 1e-6);
  const json levels = evaluation["error_by_noise_level"];
  ASSERT_EQ(levels.size(), 21u);
  EXPECT_EQ(levels.front()["timestep"], 0);
  EXPECT_EQ(levels.back()["timestep"], 999);
  // It knows the twelve images clean, and cannot know them in noise.
  EXPECT_LT(levels.front()["rms_error"], 0.3 * deviation);
  EXPECT_GT(levels.back()["rms_error"], 0.7 * deviation);
  const auto config = read_model_info(regressor()).config.get<RegressorConfig>();
  EXPECT_EQ(config.attribute.name, "light");
  EXPECT_NEAR(config.attribute.mean, 40 + 15 * 5.5, 1e-6);
  ASSERT_EQ(config.sigma.size(), 21u);
  for (size_t k = 0; k < 21; ++k)
    EXPECT_NEAR(config.sigma[k].rms * deviation, levels[k]["rms_error"], 1e-6);
  const Result shown = diffscm({"inspect", regressor(), "--json"});
  expect_success(shown);
  EXPECT_EQ(json::parse(shown.out)["model"]["metadata"]["kind"], "regressor");
}

TEST(TrainRegressor, IsTrainedOnForTheSameAttributeOnly) {
  const std::string out = fresh();
  const auto run = [&](const char* attribute, const char* steps) {
    return diffscm(train_predictor("regressor", attribute, out) +
                   Arguments{"--steps", steps, "--quiet", "--resume"});
  };
  expect_success(run("light", "2"));
  expect_failure(run("shade", "3"), 1, "trained with config");
  expect_success(run("light", "3"));
  EXPECT_EQ(read_model_info(out).config["sigma"].size(), 21u);
}

TEST(TrainRegressor, BadInputIsOneLineAndLeavesNothing) {
  const auto refused = [](const char* kind, const std::string& attribute, int code,
                          std::string_view part, const Arguments& more = {}) {
    SCOPED_TRACE(part);
    const std::string out = fresh();
    expect_failure(diffscm(train_predictor(kind, attribute, out) + more), code, part);
    EXPECT_TRUE(is_empty(out));
  };
  refused("regressor", "width", 2, "there is no attribute \"width\": give \"flat\", \"kind\",");
  refused("regressor", "side", 2, "--attribute side: it is a category");
  refused("classifier", "light", 1, "is a number, not a category");
  refused("classifier", "width", 2, "no attribute \"width\"");
  refused("regressor", "flat", 1, "'flat' is 3 for every image");
  refused("regressor", "light", 1, "train.regressor.shift is 5",
          {"--set", "train.regressor.shift=5"});
}

TEST(Counterfactual, ARegressorGuidesToANumber) {
  const std::string out = fresh();
  const Result r = diffscm(ask("light=150", out) +
                           Arguments{"--classifier", regressor(), "--scale", "0,1", "--json"});
  expect_success(r);
  EXPECT_EQ(r.err.find("far from"), std::string::npos) << r.err;
  const Result far = diffscm(ask("light=400", fresh()) + Arguments{"--classifier", regressor()});
  expect_success(far);
  EXPECT_NE(far.err.find("warning: light = 400 is far from the images that were seen in training: "
                         "122 on average, deviation 52"),
            std::string::npos)
      << far.err;
  const json scales = json::parse(r.out)["scales"];
  EXPECT_FALSE(scales[0].contains("flip_rate"));
  // The first three images are 40, 55 and 70 grey levels bright.
  const double before = scales[0]["read_median"]["light"],
               after = scales[1]["read_median"]["light"];
  EXPECT_NEAR(before, 55, 40);
  EXPECT_LT(std::abs(after - 150), 0.6 * std::abs(before - 150));
  const auto lines = io::read_jsonl(out + "/results.jsonl");
  ASSERT_EQ(lines.size(), 6u);
  // What the network says of the images in the archive.
  const auto loaded = load_model<Regressor>(regressor(), Target::cpu);
  const auto arrays = io::read_npz(out + "/counterfactuals.npz");
  const Tensor all = tensor(arrays.at("counterfactual"));
  for (int64_t s = 0; s < 2; ++s) {
    const auto values = loaded.model.values(all.slice(s, s + 1).reshape({3, kSide, kSide, 1}), 0);
    for (size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(lines[2 * i + static_cast<size_t>(s)]["read"]["light"], values[i], 1e-2);
  }
  for (const json& line : lines) {
    EXPECT_EQ(line["target"], -1);
    EXPECT_EQ(line["do"], json({{"light", 150}}));
    EXPECT_TRUE(line["p_target"].is_null());
  }
}

TEST(Counterfactual, EveryParentThatIsSetNeedsItsPredictor) {
  const std::string classifier = fresh(), out = fresh();
  expect_success(diffscm(train_predictor("classifier", "side", classifier) + Arguments{"--quiet"}));
  const Arguments both{"--classifier", regressor(), "--classifier", classifier};
  const Result r = diffscm(ask("light=150,side=1", out) + both + Arguments{"--json", "--report"});
  expect_success(r);
  const json scale = json::parse(r.out)["scales"][0];
  EXPECT_TRUE(scale.contains("flip_rate"));  // of side, which the classifier judges
  EXPECT_TRUE(scale["read_median"].contains("light"));
  EXPECT_EQ(io::read_jsonl(out + "/results.jsonl")[0]["target"], 1);
  EXPECT_EQ(read_json(out + "/run.json")["models"].size(), 3u);
  EXPECT_TRUE(fs::exists(out + "/report.html"));

  const auto refused = [](const std::string& intervention, const Arguments& guides, int code,
                          std::string_view part) {
    SCOPED_TRACE(part);
    const std::string to = fresh();
    expect_failure(diffscm(ask(intervention, to) + guides), code, part);
    EXPECT_TRUE(is_empty(to));
  };
  const Arguments one{"--classifier", regressor()};
  refused("light=150,side=1", one, 2, "nothing here knows 'side'");
  refused("kind=1", both, 2, "nothing here knows 'kind'");
  refused("light=x", both, 2, "light is \"x\"");
  refused("light=150", one + one, 2, "both predict 'light'");
  refused("light=150", one + Arguments{"--judge", regressor()}, 1,
          "kind is regressor, expected oracle or classifier");
  // What asks for classes cannot use it.
  const std::string to = fresh();
  expect_failure(diffscm(sample(to) + Arguments{"--classifier", regressor(), "--class", "1"}), 1,
                 "it is a regressor, of light; give a classifier");
  expect_failure(diffscm({"evaluate", "--model", world().unet(), "--classifier", regressor(),
                          "--data", world().data(), "--out", to}),
                 1, "it is a regressor, of light; give a classifier");
  EXPECT_TRUE(is_empty(to));
}

}  // namespace
}  // namespace diffscm
