// diffscm-softgpu profile: each job counts what it says, once.
#include <algorithm>
#include <map>

#include "tests/apps/commands.h"

namespace diffscm {
namespace {

json profile(const Arguments& more) {
  const Result r =
      diffscm(Arguments{"profile", "--model", "tiny", "--batch", "2", "--quiet", "--json"} + more);
  expect_success(r);
  return json::parse(r.out);
}

// Launches by kernel, without template arguments; of nodes of graphs only.
std::map<std::string, int> nodes(const json& profile) {
  std::map<std::string, int> count;
  for (const json& launch : profile["launches"])
    if (launch["replayed"] == true) {
      const std::string name = launch["kernel"];
      ++count[name.substr(0, name.find('<'))];
    }
  return count;
}

TEST(Profile, AForwardIsOneReplay) {
  const json p = profile({"--precision", "bf16"});
  EXPECT_EQ(p["predicted_for"], "H100");
  EXPECT_EQ(nodes(p)["time_projections_kernel"], 1);
  double us = 0, of_kernels = 0;
  for (const json& launch : p["launches"]) us += launch["predicted_us"].get<double>();
  for (const json& kernel : p["kernels"]) of_kernels += kernel["predicted_us"].get<double>();
  EXPECT_NEAR(us, p["predicted_us"].get<double>(), 1e-6 * us);
  EXPECT_NEAR(of_kernels, us, 1e-6 * us);
  // Tensor cores are used, and by the lines that have the instruction.
  double mma = 0;
  for (const json& line : p["lines"])
    if (line["mma"] > 0) {
      EXPECT_NE(line["line"].get<std::string>().find("mma.h:"), std::string::npos) << line;
      mma += line["mma"].get<double>();
    }
  EXPECT_GT(mma, 0);
}

TEST(Profile, AStepAsksBothNetworksAndTheirGradient) {
  const auto count = nodes(profile({"--job", "step"}));
  EXPECT_EQ(count.at("time_projections_kernel"), 2);
  EXPECT_EQ(count.at("ddim_update_step"), 1);
}

TEST(Profile, ATrainingStepEndsWithItsUpdate) {
  const json p = profile({"--job", "train"});
  EXPECT_EQ(nodes(p).at("adamw_step"), 1);
  EXPECT_EQ(nodes(p).at("embed_timesteps"), 1);
}

TEST(Profile, AnAbductionsLevelAsksTheNetwork) {
  EXPECT_GE(nodes(profile({"--job", "abduct"})).at("time_projections_kernel"), 1);
}

TEST(Profile, AnotherMachineIsAnotherPrediction) {
  const json h100 = profile({}), a100 = profile({"--machine", "a100"});
  EXPECT_EQ(a100["predicted_for"], "A100");
  EXPECT_GT(a100["predicted_us"], h100["predicted_us"]);
}

TEST(Profile, TablesSayThatTheyArePredicted) {
  const Result r =
      diffscm({"profile", "--model", "tiny", "--batch", "1", "--quiet", "--lines", "--timeline"});
  expect_success(r);
  for (const char* heading :
       {"kernels, predicted for H100: ", "source lines by machine instructions, predicted for H100",
        "launches one after the other, at times predicted for H100"})
    EXPECT_NE(r.out.find(heading), std::string::npos) << heading;
}

TEST(Profile, WhatCannotBeProfiledIsSaidInOneLine) {
  expect_failure(diffscm({"profile", "--device", "emu"}), 2,
                 "profile is of --device cuda, not emu");
  expect_failure(diffscm({"profile", "--model", "nonesuch"}), 1, "no model at \"nonesuch\"");
  expect_failure(diffscm({"profile", "--machine", "k20"}), 2, "give one of h100, h200, a100");
}

}  // namespace
}  // namespace diffscm
