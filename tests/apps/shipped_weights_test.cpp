// The networks that we ship, by the defaults that we ship: do they answer the question? On
// `digits`, where the true counterfactual is known, judged by the oracle, which had no part in the
// answer.
#include "tests/apps/commands.h"

namespace diffscm {
namespace {

double mean(const json& summary, const std::string& arm, const std::string& metric) {
  for (const json& entry : summary)
    if (entry["arm"] == arm) return entry["metrics"][metric]["mean"];
  ADD_FAILURE() << "no " << arm;
  return NAN;
}

TEST(ShippedWeights, OfDigitsFlipAndComeNearerToTheTruth) {
  const std::string out = fresh();
  expect_success(diffscm({"evaluate",
                          "--model",
                          DIFFSCM_WEIGHTS "/digits-conditional.safetensors",
                          "--data",
                          "digits",
                          "--images",
                          "10",
                          "--repeats",
                          "1",
                          "--cycled",
                          "0",
                          "--abduction",
                          "ddim",
                          "--steps",
                          "50",
                          "--methods",
                          "diff-scm-implicit,factual",
                          "--quiet",
                          "--out",
                          out}));
  const json summary = read_json(fs::path(out) / "summary.json");
  EXPECT_GE(mean(summary, "diff-scm-implicit", "oracle_flip"), 0.8);
  EXPECT_LT(mean(summary, "diff-scm-implicit", "truth_l1"), mean(summary, "factual", "truth_l1"));
}

// The graphs with an image, through the tabular nodes between what is set and the image.
TEST(ShippedWeights, OfGraphsComeNearerToTheTruth) {
  for (const auto& [world, set] : {std::pair{"faces", "gender=male"},
                                   {"faces", "age=young"},
                                   {"digits", "thickness=5"},
                                   {"pendulum", "light=65"}}) {
    const std::string out = fresh();
    const Result r = diffscm({"scm", "counterfactual", world, "--observed", world, "--index", "0:4",
                              "--do", set, "--set", "image.levels=20", "--json", "--out", out});
    ASSERT_EQ(r.code, 0) << r.err;
    const json answer = json::parse(r.out)["answers"][0];
    EXPECT_LT(answer["truth_l1_mean"].get<double>(), 0.8 * answer["nothing_l1_mean"].get<double>())
        << set;
  }
}

}  // namespace
}  // namespace diffscm
