// diffscm sweep and evaluate on the shipped networks for `digits`, with a chain of four levels:
// what they write, that they resume, and what they refuse.
#include <set>

#include "tests/apps/experiments.h"

namespace diffscm {
namespace {

TEST(Sweep, WritesMetricsPerScaleAndAReport) {
  const std::string out = fresh();
  // The model alone in its folder: the others are where --networks says, found by their data.
  const fs::path alone = world() / "alone";
  fs::create_directory(alone);
  fs::copy(kUnet, alone / "mine.safetensors");
  const Result r =
      diffscm(Arguments{"sweep"} + few(out, alone / "mine.safetensors") +
              Arguments{"--networks", DIFFSCM_WEIGHTS, "--scales", "0,2", "--report", "--json"});
  expect_success(r);
  const json summary = json::parse(r.out);
  ASSERT_EQ(summary.size(), 2u);
  EXPECT_EQ(summary[0]["arm"], "s=0");
  EXPECT_EQ(summary[1]["options"]["scale"], 2);
  EXPECT_EQ(summary[0]["metrics"]["cld"]["count"], 2);
  // The same four-level walk up and down without guidance: nearly the factual image.
  EXPECT_LT(summary[0]["metrics"]["l1"]["mean"], summary[1]["metrics"]["l1"]["mean"]);
  EXPECT_TRUE(summary[1]["metrics"].contains("truth_l1"));  // digits know the truth
  const std::string page = file(out + "/report.html");
  EXPECT_NE(page.find("<svg"), std::string::npos);
  EXPECT_NE(page.find("data:image/png;base64,"), std::string::npos);
  for (const char* outside : {"<script", "src=\"http", "href=\"http", "url(http"})
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
  EXPECT_TRUE(fs::exists(out + "/curves/cld.svg"));
  EXPECT_NE(file(out + "/summary.csv").find("s=2,cld,"), std::string::npos);
}

TEST(Evaluate, ComparesMethodsAndResumesWithMoreOfThem) {
  const std::string out = fresh();
  const auto evaluate = [&](const std::string& methods, const Arguments& more) {
    return diffscm(Arguments{"evaluate", "--repeats", "2", "--cycled", "0", "--methods", methods,
                             "--prototype-iterations", "3", "--json"} +
                   few(out) + more);
  };
  expect_success(evaluate("diff-scm,factual", {}));
  const std::string before = file(out + "/records/0-of-1.jsonl");
  const Result r = evaluate("diff-scm,guided-sample,sdedit,prototype,greedy,training-image,factual",
                            {"--resume"});
  expect_success(r);
  EXPECT_EQ(file(out + "/records/0-of-1.jsonl").substr(0, before.size()), before);
  const json summary = json::parse(r.out);
  ASSERT_GE(summary.size(), 7u);
  for (size_t i = 0; i < 7;
       ++i) {  // behind them: whether the guides agree, if they can be compared
    const json& arm = summary[i];
    EXPECT_EQ(arm["metrics"]["cld"]["count"], 4) << arm["arm"];
    EXPECT_TRUE(arm["metrics"].contains("frechet")) << arm["arm"];
  }
  const json& factual = summary[6]["metrics"];
  EXPECT_NEAR(factual["cld"]["mean"], std::log(1 + std::exp(1)), 0.005);
  EXPECT_EQ(factual["l1"]["mean"], 0);
}

TEST(Evaluate, FindsItsNetworksByKindWhereTheModelLies) {
  const std::string out = fresh();
  const Arguments few{"--methods", "factual", "--images", "2", "--repeats", "1"};
  expect_success(diffscm(tiny("evaluate", out) + few));
  const json models = read_json(out + "/experiment.json")["models"];
  for (const auto& [kind, run] : {std::pair{"unet", "blobs-unet"},
                                  {"classifier", "guide"},
                                  {"vae", "blobs-vae"},
                                  {"oracle", "blobs-oracle"},
                                  {"autoencoders", "blobs-autoencoder"}})
    EXPECT_EQ(models[kind], io::sha256_of_file(runs() / run / "model.safetensors")) << kind;

  // Two of a kind: the one that is named like the model, if there is such a one.
  const fs::path other = world() / "more-runs";
  fs::copy(runs(), other, fs::copy_options::recursive);
  fs::copy(runs() / "guide", other / "guide-2");
  const Arguments there{"--networks", other};
  expect_failure(diffscm(tiny("evaluate", fresh()) + few + there), 2, "there are several");
  fs::rename(other / "guide-2", other / "blobs-classifier");
  expect_success(diffscm(tiny("evaluate", fresh()) + few + there));
  fs::remove_all(other / "blobs-oracle");
  expect_failure(diffscm(tiny("evaluate", fresh()) + few + there), 2, "--oracle is needed");
  expect_failure(diffscm(tiny("evaluate", fresh()) + few + Arguments{"--networks", "/nowhere"}), 2,
                 "/nowhere");
}

TEST(Evaluate, ComparesWhatTheNetworksAllow) {
  const Result r = diffscm(tiny("evaluate", fresh()) +
                           Arguments{"--images", "2", "--repeats", "1", "--cycled", "0"});
  expect_success(r);
  std::set<std::string> arms;
  for (const json& arm : json::parse(r.out)) arms.insert(arm["arm"]);
  for (const char* arm : {"diff-scm", "diff-scm-ddim", "guided-sample", "sdedit", "factual"})
    EXPECT_TRUE(arms.contains(arm)) << arm;
  for (const char* arm : {"prototype", "greedy"}) EXPECT_FALSE(arms.contains(arm)) << arm;
  expect_failure(
      diffscm(tiny("evaluate", fresh()) + Arguments{"--images", "2", "--methods", "greedy"}), 2,
      "--ensemble is needed");
}

TEST(Sweep, AScaleThatBreaksEveryImageIsSaidAndTheOthersAreScored) {
  const std::string out = fresh();
  const Result r =
      diffscm(tiny("sweep", out) + Arguments{"--images", "3", "--scales", "1,1e300", "--abduction",
                                             "ddim", "--cycled", "1", "--report"});
  expect_success(r);
  const json summary = json::parse(r.out);
  EXPECT_FALSE(summary[0].contains("failed"));
  EXPECT_EQ(summary[0]["metrics"]["cld"]["count"], 3);
  EXPECT_EQ(summary[1]["failed"], 3);
  EXPECT_FALSE(summary[1]["metrics"].contains("cld"));
  EXPECT_NE(file(out + "/report.html").find("s=1e+300: 3 images failed"), std::string::npos);
}

TEST(Evaluate, QuickChangesDefaultsNotWhatWasGiven) {
  const std::string a = fresh(), b = fresh();
  expect_success(
      diffscm(tiny("evaluate", a) + Arguments{"--quick", "--images", "3", "--methods", "factual"}));
  const json evaluated = read_json(a + "/experiment.json");
  EXPECT_EQ(evaluated["images"], 3);
  EXPECT_EQ(evaluated["repeats"], 2);
  EXPECT_EQ(evaluated["max_iterations"], 10);
  expect_success(
      diffscm(tiny("sweep", b) + Arguments{"--quick", "--images", "2", "--abduction", "fixed-point",
                                           "--max-iterations", "3", "--scales", "1"}));
  const json swept = read_json(b + "/experiment.json");
  EXPECT_EQ(swept["images"], 2);
  EXPECT_EQ(swept["abduction"], "fixed-point");
  const std::string c = fresh();
  expect_success(
      diffscm(tiny("sweep", c) + Arguments{"--quick", "--images", "1", "--scales", "0"}));
  EXPECT_EQ(read_json(c + "/experiment.json")["abduction"], "ddim");
}

TEST(Evaluate, JudgesUnguidedSamples) {
  const std::string out = fresh();
  const Arguments few{"--methods", "factual", "--images", "2", "--repeats", "1", "--report"};
  const auto with = [&](const char* samples) { return few + Arguments{"--samples", samples}; };
  const Result r = diffscm(tiny("evaluate", out) + with("5"));
  expect_success(r);
  const json summary = json::parse(r.out);
  ASSERT_EQ(summary.size(), 4u);
  EXPECT_EQ(summary[1]["arm"], "samples");
  EXPECT_EQ(summary[1]["metrics"]["frechet"]["count"], 5);
  EXPECT_GT(summary[1]["metrics"]["frechet"]["mean"], summary[2]["metrics"]["frechet"]["mean"])
      << "two steps of an untrained network are worse than training images";
  EXPECT_TRUE(summary[3]["metrics"].contains("sure"));
  EXPECT_NE(file(out + "/summary.csv").find("\nsample-floor,mmd,"), std::string::npos);
  EXPECT_NE(file(out + "/report.html").find("The first 5 samples"), std::string::npos);
  EXPECT_TRUE(fs::exists(out + "/pictures/the-first-5-samples--told-nothing.png"));
  const io::NpyArray images = io::read_npz(out + "/samples/000000.npz").at("image");
  EXPECT_EQ(images.shape, (Shape{5, kSide, kSide, 1}));
  expect_image_range(images);

  const auto written = fs::last_write_time(out + "/samples/000000.npz");
  const Result again = diffscm(tiny("evaluate", out) + with("5") + Arguments{"--resume"});
  expect_success(again);
  EXPECT_EQ(again.out, r.out);
  EXPECT_EQ(fs::last_write_time(out + "/samples/000000.npz"), written);
  expect_failure(diffscm(tiny("evaluate", out) + with("6") + Arguments{"--resume"}), 1, "samples");
  expect_failure(diffscm(tiny("evaluate", fresh()) + with("13")), 2, "13");
  expect_failure(diffscm(tiny("evaluate", fresh()) + with("1")), 2, "samples");
}

TEST(Evaluate, JudgesSamplesToldTheParentsOfTrainingImagesToo) {
  const std::string out = fresh();
  const Result r = diffscm(Arguments{"evaluate", "--networks", runs(), "--methods", "factual",
                                     "--images", "2", "--repeats", "1", "--samples", "4"} +
                           of_model(conditional_unet(), out));
  expect_success(r);
  const json summary = json::parse(r.out);
  EXPECT_EQ(summary[1]["arm"], "samples");
  EXPECT_EQ(summary[2]["arm"], "samples-told");
  EXPECT_EQ(summary[2]["metrics"]["sure"]["count"], 4);
  const auto images = [&](const char* which) {
    return io::read_npz(out + "/" + which + "/000000.npz").at("image").bytes;
  };
  EXPECT_NE(images("samples"), images("samples-told")) << "from the same noise";
}

TEST(Evaluate, TheGivenPrecisionIsWhatRuns) {
  std::map<std::string, std::vector<float>> images;
  for (const char* precision : {"f32", "bf16"}) {
    const std::string out = fresh();
    expect_success(diffscm({"sweep",
                            "--model",
                            runs() / "blobs-unet",
                            "--data",
                            world().data(),
                            "--steps",
                            "2",
                            "--abduction",
                            "ddim",
                            "--images",
                            "2",
                            "--scales",
                            "1",
                            "--device",
                            "emu",
                            "--precision",
                            precision,
                            "--quiet",
                            "--out",
                            out}));
    EXPECT_EQ(read_json(out + "/experiment.json")["precision"], precision);
    images[precision] = io::read_npz(out + "/images/diff-scm/000000.npz").at("image").to_floats();
  }
  double difference = 0;
  for (size_t i = 0; i < images["f32"].size(); ++i)
    difference = std::max(difference, std::abs(double{images["f32"][i]} - images["bf16"][i]));
  EXPECT_GT(difference, 1e-4) << "bf16 was not used";
  EXPECT_LT(difference, 0.3);
}

TEST(Evaluate, BadInputIsOneLineAndLeavesNothing) {
  const auto refused = [&](const Arguments& a, int code, std::string_view part) {
    SCOPED_TRACE(part);
    const std::string out = fresh();
    expect_failure(diffscm(Arguments{"evaluate"} + few(out) + a), code, part);
    EXPECT_FALSE(fs::exists(out + "/experiment.json"));
  };
  refused({"--methods", "magic"}, 2, "magic");
  refused({"--shard", "2/2"}, 2, "2/2");
  refused({"--shard", "0/4294967297"}, 2, "4294967297");
  refused({"--vae", "/nonexistent.safetensors"}, 1, "nonexistent");
  refused({"--vae", std::string(DIFFSCM_WEIGHTS) + "/digits-oracle.safetensors"}, 1, "oracle");
  refused({"--scale", "-1"}, 2, "-1");
  refused({"--sdedit-fraction", "0"}, 2, "0");
  const std::string out = fresh();
  expect_failure(diffscm({"sweep", "--model", DIFFSCM_WEIGHTS "/digits-oracle.safetensors",
                          "--data", "digits", "--out", out}),
                 1, "oracle");
}

}  // namespace
}  // namespace diffscm
