// diffscm sweep and evaluate on the shipped networks for `digits`, with a chain of four levels:
// what they write, that they resume, and what they refuse.
#include "tests/apps/commands.h"

namespace diffscm {
namespace {

const std::string kUnet = std::string(DIFFSCM_WEIGHTS) + "/digits-unet.safetensors";

Arguments few(const std::string& out) {
  return {"--model", kUnet,     "--data", "digits",      "--steps", "4",     "--images",
          "2",       "--batch", "2",      "--abduction", "ddim",    "--out", out};
}

std::string file(const std::string& path) {
  const io::Bytes bytes = io::read_file(path);
  return {bytes.begin(), bytes.end()};
}

TEST(Sweep, WritesMetricsPerScaleAndAReport) {
  const std::string out = fresh();
  const Result r =
      diffscm(Arguments{"sweep"} + few(out) + Arguments{"--scales", "0,2", "--report", "--json"});
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
  ASSERT_EQ(summary.size(), 7u);
  for (const json& arm : summary) {
    EXPECT_EQ(arm["metrics"]["cld"]["count"], 4) << arm["arm"];
    EXPECT_TRUE(arm["metrics"].contains("frechet")) << arm["arm"];
  }
  const json& factual = summary[6]["metrics"];
  EXPECT_NEAR(factual["cld"]["mean"], std::log(1 + std::exp(1)), 0.005);
  EXPECT_EQ(factual["l1"]["mean"], 0);
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
