// How a conditional model guides and encodes, in every command that takes it; and the bound.
#include "diffusion/batch.h"
#include "evaluation/bound.h"
#include "tests/apps/experiments.h"

namespace diffscm {
namespace {

// Of the conditional model and a classifier, in two levels.
Arguments counterfactual_by_both(const std::string& out) {
  return {"counterfactual",
          "--model",
          conditional_unet(),
          "--classifier",
          world().classifier(),
          "--data",
          world().data(),
          "--steps",
          "2",
          "--quiet",
          "--out",
          out};
}

TEST(Evaluate, ComparesKindsOfGuidanceAndEncodingOfAConditionalModel) {
  const std::string out = fresh();
  const std::vector<std::string> arms{"diff-scm", "diff-scm-implicit", "diff-scm-factual",
                                      "diff-scm-ddpm", "diff-scm-guided"};
  const Result r =
      diffscm(Arguments{"evaluate", "--networks", runs(), "--images", "3", "--repeats", "1",
                        "--cycled", "2", "--methods",
                        "diff-scm,diff-scm-implicit,diff-scm-factual,diff-scm-ddpm,diff-scm-guided",
                        "--report"} +
              of_model(conditional_unet(), out));
  expect_success(r);
  const json summary = json::parse(r.out);
  ASSERT_EQ(summary.size(), 6u);
  const char* guidance[] = {"classifier", "implicit", "implicit", "implicit", "classifier"};
  const char* encode[] = {"unconditional", "unconditional", "factual", "factual", "factual"};
  const char* abduction[] = {"fixed-point", "fixed-point", "fixed-point", "ddpm", "ddpm"};
  const int gradients[] = {2, 0, 0, 0, 4};
  for (size_t a = 0; a < 5; ++a) {
    SCOPED_TRACE(arms[a]);
    EXPECT_EQ(summary[a]["arm"], arms[a]);
    EXPECT_EQ(summary[a]["options"]["guidance"], guidance[a]);
    EXPECT_EQ(summary[a]["options"]["encode"], encode[a]);
    EXPECT_EQ(summary[a]["options"]["scale"], 1);
    EXPECT_EQ(summary[a]["metrics"]["gradients"]["mean"], gradients[a]);
    EXPECT_EQ(summary[a]["metrics"]["reversibility"]["count"], 2);
    // The same answer as `counterfactual` gives.
    const json first = io::read_jsonl(out + "/records/0-of-1.jsonl").at(3 * a);
    const std::string one = fresh();
    ASSERT_EQ(first["arm"], arms[a]);
    expect_success(diffscm(
        counterfactual_by_both(one) +
        Arguments{"--device", "cpu", "--index", std::to_string(first["index"].get<int>()), "--do",
                  "class=" + std::to_string(first["set"]["class"].get<int>()), "--guidance",
                  guidance[a], "--encode", encode[a], "--abduction", abduction[a]}));
    const Tensor again = tensor(io::read_npz(one + "/counterfactuals.npz").at("counterfactual"));
    EXPECT_LT(l1(images_of(out, arms[a]), again, 0), 0.01);
  }
  EXPECT_GT(l1(images_of(out, arms[0]), images_of(out, arms[1]), 0), 0.1);
  EXPECT_GT(l1(images_of(out, arms[1]), images_of(out, arms[2]), 0), 0.1);
  EXPECT_GT(l1(images_of(out, arms[2]), images_of(out, arms[3]), 0), 0.1);

  EXPECT_GT(l1(images_of(out, arms[3]), images_of(out, arms[4]), 0), 0.1);

  EXPECT_EQ(summary[5]["arm"], "gradient-agreement");
  ASSERT_EQ(summary[5]["by_noise_level"].size(), 11u);
  EXPECT_EQ(summary[5]["by_noise_level"][10]["timestep"], 999);
  for (const json& level : summary[5]["by_noise_level"]) {
    EXPECT_LE(std::abs(level["cosine"]["mean"].get<double>()), 1 + 1e-6);
    EXPECT_GT(level["ratio"]["mean"].get<double>(), 0);
  }
  EXPECT_EQ(read_json(out + "/summary.json"), summary);
  EXPECT_NE(file(out + "/report.html").find("conditional model agree?"), std::string::npos);
}

// What can be read off digits' noise: every attribute, and the style that only the world knows.
TEST(Abduct, ProbesTheNoise) {
  const std::string out = fresh();
  const Arguments digits{"abduct", "--model", kUnet, "--data", "digits", "--steps", "3"};
  const Result r = diffscm(digits + Arguments{"--index", "0:40", "--abduction", "ddpm", "--probe",
                                              "--json", "--out", out});
  expect_success(r);
  const json rows = json::parse(r.out)["probe"];
  std::map<std::string, json> by_name;
  for (const json& row : rows) by_name[row["name"]] = row;
  EXPECT_EQ(by_name.size(), 10u);
  EXPECT_EQ(by_name.at("digit")["measure"], "accuracy");
  EXPECT_GT(by_name.at("digit")["image"], 0.2);
  EXPECT_EQ(by_name.at("slant")["measure"], "r2");
  EXPECT_GT(by_name.at("slant")["image"], 0.1);
  EXPECT_EQ(by_name.at("shift_x")["steps"].size(), 3u);
  EXPECT_EQ(read_json(out + "/run.json")["summary"]["probe"], rows);
  const auto refused = [&](const Arguments& a, std::string_view part) {
    expect_failure(diffscm(a + Arguments{"--out", fresh()}), 2, part);
  };
  refused(digits + Arguments{"--index", "0:3", "--probe"}, "--probe: 3 images");
  refused(digits + Arguments{"--encode", "factual"}, "cannot be told any parent");
}

// A model told the factual parents encodes other noise, and gives the image back.
TEST(Abduct, EncodesWithTheFactualParents) {
  const auto latent = [](const char* encode) {
    const std::string out = fresh();
    const Result r = diffscm({"abduct", "--model", conditional_unet(), "--data", world().data(),
                              "--steps", "4", "--index", "0:3", "--abduction", "fixed-point",
                              "--encode", encode, "--json", "--out", out});
    expect_success(r);
    EXPECT_LT(json::parse(r.out)["roundtrip_l1_median"], 5);
    return io::read_npz(out + "/abduction.npz").at("latent").bytes;
  };
  EXPECT_NE(latent("factual"), latent("unconditional"));
}

// Half of s = 2 for the classifier alone is its s = 1; nothing of it leaves the model told.
TEST(Counterfactual, ClassifiersHaveAScaleOfTheirOwn) {
  const auto answer = [](const Arguments& more) {
    const std::string out = fresh();
    expect_success(diffscm(counterfactual_by_both(out) +
                           Arguments{"--index", "0:3", "--do", "class=2", "--abduction", "ddim",
                                     "--encode", "unconditional"} +
                           more));
    return io::read_npz(out + "/counterfactuals.npz").at("counterfactual").bytes;
  };
  EXPECT_EQ(answer({"--guidance", "classifier", "--scale", "2", "--classifier-scale", "0.5"}),
            answer({"--guidance", "classifier", "--scale", "1"}));
  const auto told = answer({"--guidance", "implicit", "--scale", "1"});
  EXPECT_EQ(answer({"--guidance", "both", "--scale", "1", "--classifier-scale", "0"}), told);
  EXPECT_NE(answer({"--guidance", "both", "--scale", "1", "--classifier-scale", "0.5"}), told);
}

TEST(Sweep, TakesGuidanceAndEncoding) {
  const auto swept = [](const Arguments& more) {
    const std::string out = fresh();
    const Result r = diffscm(Arguments{"sweep", "--networks", runs(), "--images", "1", "--scales",
                                       "1", "--abduction", "ddim"} +
                             of_model(conditional_unet(), out) + more);
    EXPECT_EQ(r.code, 0) << r.err;
    const json settings = read_json(out + "/experiment.json");
    return std::pair{settings["guidance"], settings["encode"]};
  };
  EXPECT_EQ(swept({}), (std::pair<json, json>{"implicit", "unconditional"}));
  EXPECT_EQ(swept({"--guidance", "both", "--encode", "factual"}),
            (std::pair<json, json>{"both", "factual"}));
  expect_failure(
      diffscm(tiny("sweep", fresh()) + Arguments{"--images", "2", "--guidance", "implicit"}), 2,
      "cannot be told any parent");
  for (const char* arm : {"diff-scm-implicit", "diff-scm-factual"})
    expect_failure(
        diffscm(tiny("evaluate", fresh()) + Arguments{"--images", "2", "--methods", arm}), 2,
        "cannot be told any parent");
}

TEST(TrainClassifier, ReportsWhetherItGuidesAsAConditionalModelDoes) {
  const std::string out = fresh();
  const Arguments one_step{"--steps", "1", "--quiet"};
  expect_success(
      diffscm(train("classifier", out) + one_step + Arguments{"--model", conditional_unet()}));
  const json evaluation = read_json(out + "/evaluation.json");
  ASSERT_EQ(evaluation["agreement_by_noise_level"].size(), 11u);
  EXPECT_GT(evaluation["agreement_by_noise_level"][5]["ratio"]["mean"].get<double>(), 0);
  // In the memory of few images, the U-Net's too.
  const std::string parts = fresh();
  expect_success(diffscm(train("classifier", parts) + one_step +
                         Arguments{"--model", conditional_unet(), "--micro-batch", "5"}));
  EXPECT_NEAR(read_json(parts + "/evaluation.json")["agreement_by_noise_level"][5]["ratio"]["mean"]
                  .get<double>(),
              evaluation["agreement_by_noise_level"][5]["ratio"]["mean"].get<double>(), 1e-4);
  // Matching its gradients, another loss is minimised.
  const std::string matched = fresh();
  expect_success(
      diffscm(train("classifier", matched) + one_step +
              Arguments{"--model", conditional_unet(), "--set", "train.classifier.match=1"}));
  EXPECT_NE(file(matched + "/model.safetensors"), file(out + "/model.safetensors"));
  expect_failure(
      diffscm(train("classifier", fresh()) + one_step + Arguments{"--model", world().unet()}), 1,
      "cannot be told the 'class'");
}

TEST(Sample, TellsAConditionalModelTheClass) {
  const auto drawn = [](const Arguments& more) {
    const std::string out = fresh();
    const Result r = diffscm(Arguments{"sample", "--model", conditional_unet(), "--count", "3",
                                       "--steps", "3", "--quiet", "--out", out} +
                             more);
    EXPECT_EQ(r.code, 0) << r.err;
    return io::read_npz(out + "/samples.npz");
  };
  const auto five = drawn({"--class", "5"}), six = drawn({"--class", "6"}), plain = drawn({}),
             none = drawn({"--class", "5", "--scale", "0"});
  EXPECT_GT(l1(tensor(five.at("samples")), tensor(six.at("samples")), 0), 0.1);
  EXPECT_GT(l1(tensor(five.at("samples")), tensor(plain.at("samples")), 0), 0.1);
  EXPECT_EQ(none.at("samples").to_floats(), plain.at("samples").to_floats());
  EXPECT_EQ(drawn({"--class", "all"}).at("target").to_floats(), (std::vector<float>{0, 1, 2}));
  expect_failure(diffscm(sample(fresh()) + Arguments{"--class", "5"}), 2,
                 "cannot be told a class: give a --classifier");
  expect_failure(
      diffscm({"sample", "--model", conditional_unet(), "--class", "10", "--out", fresh()}), 2,
      "--class 10");
}

TEST(Bound, IsTrainedAndAnswersInAnExperiment) {
  const fs::path preset = world() / "bound.toml", folder = world() / "with-bound";
  testing::put(preset, std::string(kPreset) +
                           "[train.bound]\nsteps = 4\nbatch = 4\nlr = 1e-2\nweight_decay = "
                           "0.0\nema_decay = 0.0\nwarmup_steps = 0\ncosine_decay = false\n");
  fs::create_directory(folder);
  const std::string bound = folder / "digits-bound";
  const Arguments command{"train", "bound", "--preset", preset, "--quiet"};
  expect_success(diffscm(command + Arguments{"--data", "digits", "--out", bound}));
  const json evaluation = read_json(bound + "/evaluation.json");
  EXPECT_GT(evaluation["test_truth_l1"].get<double>(), 0);
  EXPECT_NEAR(evaluation["test_truth_l1_of_factual"].get<double>(), 29, 6);
  expect_failure(diffscm(command + Arguments{"--data", world().data(), "--out", fresh()}), 1,
                 "true counterfactuals");

  // Without --methods it is found and asked.
  const fs::path without = world() / "without-bound";
  fs::create_directory(without);
  for (const char* kind : {"unet", "classifier", "vae", "oracle", "autoencoders", "ensemble"}) {
    const std::string name = std::string("digits-") + kind + ".safetensors";
    for (const fs::path& to : {folder, without})
      fs::copy(std::string(DIFFSCM_WEIGHTS) + "/" + name, to / name);
  }
  const std::string out = fresh();
  expect_success(diffscm(Arguments{"evaluate",
                                   "--model",
                                   folder / "digits-unet.safetensors",
                                   "--data",
                                   "digits",
                                   "--steps",
                                   "2",
                                   "--images",
                                   "2",
                                   "--repeats",
                                   "1",
                                   "--cycled",
                                   "0",
                                   "--abduction",
                                   "ddim",
                                   "--prototype-iterations",
                                   "2",
                                   "--device",
                                   "cpu",
                                   "--quiet",
                                   "--out",
                                   out}));
  const json summary = read_json(out + "/summary.json");
  std::map<std::string, json> arms;
  for (const json& arm : summary) arms[arm["arm"]] = arm["metrics"];
  const bool conditional = !load_model<UNet>(kUnet, Target::cpu).model.config().conditions.empty();
  for (const char* arm : {"diff-scm-implicit", "diff-scm-factual", "gradient-agreement"})
    EXPECT_EQ(arms.contains(arm), conditional) << arm;
  for (const char* arm : {"diff-scm", "diff-scm-ddim", "prototype", "factual"})
    EXPECT_TRUE(arms.contains(arm)) << arm;
  ASSERT_TRUE(arms.contains("bound"));

  const auto loaded = load_model<Bound>(bound, Target::cpu);
  const data::Dataset digits = data::load_dataset("digits", data::Split::test);
  std::vector<int64_t> index, target;
  for (const json& record : io::read_jsonl(out + "/records/0-of-1.jsonl"))
    if (record["arm"] == "bound") {
      index.push_back(record["index"]);
      target.push_back(record["set"]["digit"]);
    }
  ASSERT_EQ(index.size(), 2u);
  const Tensor expected = clamp_to_image(loaded.model.answer(digits.images(index), target));
  for (int64_t n = 0; n < 2; ++n) EXPECT_LT(l1(images_of(out, "bound"), expected, n), 1e-3);

  expect_failure(
      diffscm(tiny("evaluate", fresh()) + Arguments{"--images", "2", "--methods", "bound"}), 2,
      "does not know the true counterfactuals");
  expect_failure(diffscm(Arguments{"evaluate"} + few(fresh()) +
                         Arguments{"--methods", "bound", "--networks", without}),
                 2, "--bound is needed");
}

}  // namespace
}  // namespace diffscm
