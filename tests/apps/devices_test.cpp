// The commands of the main job on the targets whose kernels are those of a GPU: on the emulator,
// and on cuda where that can be used.
#include "tests/apps/commands.h"

namespace diffscm {
namespace {

class Devices : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const Result r = diffscm({"targets", "--json"});
    expect_success(r);
    const json target = json::parse(r.out)[GetParam()];
    if (target["usable"] != true) GTEST_SKIP() << target["reason"];
  }
  static Arguments device() { return {"--device", GetParam(), "--quiet"}; }
};

TEST(Targets, TargetsSaysWhichCanBeUsedAndWhyNot) {
  const Result r = diffscm({"targets", "--json"});
  expect_success(r);
  const json targets = json::parse(r.out);
  for (const char* name : {"cpu", "emu"}) {
    EXPECT_EQ(targets[name]["usable"], true) << name;
    EXPECT_GT(targets[name]["memory_bytes"], 0) << name;
    EXPECT_FALSE(targets[name]["description"].get<std::string>().empty()) << name;
  }
  EXPECT_EQ(targets["cpu"]["operators"]["conv2d_bf16"], false);
  EXPECT_EQ(targets["emu"]["operators"]["conv2d_bf16"], true);
  if (targets["cuda"]["usable"] == false) {
    const std::string reason = targets["cuda"]["reason"];
    EXPECT_FALSE(reason.empty());
    EXPECT_EQ(targets["default"], "cpu");
    const Result text = diffscm({"targets"});
    EXPECT_NE(text.out.find(reason), std::string::npos);
    expect_failure(diffscm(sample(fresh()) + Arguments{"--device", "cuda"}), 1, reason);
  }
}

TEST_P(Devices, TheMainJobRuns) {
  for (const char* precision : {"f32", "bf16"}) {
    SCOPED_TRACE(precision);
    const Arguments with = device() + Arguments{"--precision", precision};
    const std::string unet = fresh(), classifier = fresh();
    expect_success(diffscm(train("diffusion", unet) + with + Arguments{"--steps", "3"}));
    expect_success(
        diffscm(train("diffusion", unet) + with + Arguments{"--steps", "3", "--resume"}));
    expect_success(diffscm(train("classifier", classifier) + with + Arguments{"--steps", "3"}));
    EXPECT_EQ(read_json(fs::path(classifier) / "evaluation.json")["end"], "finished");

    const std::string samples = fresh(), abduced = fresh(), changed = fresh();
    expect_success(diffscm(sample(samples) + guided("3") + with));
    expect_success(diffscm(abduct(abduced) + with + Arguments{"--abduction", "ddim"}));
    expect_success(diffscm(counterfactual(changed) + with + Arguments{"--max-iterations", "8"}));
    EXPECT_EQ(read_json(fs::path(changed) / "run.json")["device"], GetParam());
    EXPECT_EQ(read_json(fs::path(changed) / "run.json")["precision"], precision);
  }
}

TEST_P(Devices, SamplesAreThoseOfTheCpu) {
  const std::string a = fresh(), b = fresh();
  expect_success(diffscm(sample(a) + guided("all") + Arguments{"--device", "cpu", "--quiet"}));
  expect_success(diffscm(sample(b) + guided("all") + device()));
  expect_close(io::read_npz(fs::path(a) / "samples.npz").at("samples"),
               io::read_npz(fs::path(b) / "samples.npz").at("samples"), 2e-3f);
}

INSTANTIATE_TEST_SUITE_P(All, Devices, ::testing::Values("emu", "cuda"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace diffscm
