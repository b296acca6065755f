#include "evaluation/scm/scm_evaluation.h"

#include <cmath>

#include "tests/causal/scm_testing.h"

namespace diffscm {
namespace {

using causal::Graph;
using causal::Node;
using causal::StructuralCausalModel;

// x -> y, {x, y} -> z and y -> switch; `slope` is that of y on x.
StructuralCausalModel world(double slope, const std::string& noise_of_z = "u") {
  const auto node = [](const char* name, std::vector<std::string> parents, std::string value,
                       const char* noise) {
    Node n = causal::number(name, std::move(parents));
    n.mechanism = {"equation", {{"value", value}, {"noise", {{"u", noise}}}}};
    return n;
  };
  Node on = node("on", {"y"}, "u < sigmoid(2 * y)", "uniform(0, 1)");
  on.kind = causal::NodeKind::binary;
  on.attribute.states = {"no", "yes"};
  return StructuralCausalModel(
      Graph({node("x", {}, "u", "normal(0, 1)"),
             node("y", {"x"}, fmt::format("{} * x + u / 2", slope), "normal(0, 1)"),
             node("z", {"x", "y"}, "x * y + " + noise_of_z, "normal(0, 1)"), on}));
}

ScmEvaluationOptions quick() {
  return {.seed = 3, .observational_rows = 300, .values = 5, .judged_rows = 400};
}

TEST(ScmEvaluation, OfTheTruthIsItsFloor) {
  const auto truth = world(1);
  const auto data = truth.sample(causal::first_rows(77, 500)).value;
  int last = 0, all = 0;
  ScmEvaluationOptions options = quick();
  options.progress = [&](int done, int total) {
    EXPECT_EQ(done, last + 1);
    last = done;
    all = total;
  };
  const ScmEvaluation e = evaluate_scm(truth, &truth, data, options);
  EXPECT_EQ(last, all);
  EXPECT_TRUE(e.with_truth);
  EXPECT_NEAR(e.observational.model, e.observational.floor, 0.005);
  ASSERT_EQ(e.interventions.size(), 2u);  // x and y: what has descendants
  EXPECT_EQ(e.interventions[0].descendants, (std::vector<std::string>{"on", "y", "z"}));
  EXPECT_LT(std::abs(e.interventional().model - e.interventional().floor), 0.01);
  for (const InterventionScore& s : e.interventions) {
    EXPECT_EQ(s.values.size(), 5u);
    // The binary node's noise is one draw of many; numbers are exact.
    for (size_t i = 0; i < s.descendants.size(); ++i)
      EXPECT_LT(s.cf_mse_of[i], s.descendants[i] == "on" ? 0.5 : 1e-12);
    EXPECT_EQ(s.cf_mse_first, s.cf_mse_of[0]);
  }
  ASSERT_EQ(e.nodes.size(), 4u);
  const NodeScore &x = e.nodes[0], &y = e.nodes[1];
  EXPECT_NEAR(x.log_density, -1.419, 0.1);  // -(1 + log 2 pi) / 2
  EXPECT_NEAR(y.log_density, -1.419 + std::log(2), 0.1);
  EXPECT_LT(y.crps, 0.6 * y.crps_marginal);
  EXPECT_TRUE(std::isnan(x.independence_p));
  EXPECT_GT(y.independence_p, 0.01);
  EXPECT_TRUE(std::isnan(e.nodes[3].crps));
}

TEST(ScmEvaluation, SeesAWrongModel) {
  const auto truth = world(1), wrong = world(-0.2);
  const auto data = truth.sample(causal::first_rows(77, 500)).value;
  const ScmEvaluation e = evaluate_scm(wrong, &truth, data, quick());
  EXPECT_GT(e.observational.model, 5 * e.observational.floor);
  EXPECT_GT(e.interventions[0].mmd.model, 2 * e.interventions[0].mmd.floor);
  // do(x = v): y differs by (1 + 0.2) (x - v).
  EXPECT_GT(e.interventions[0].cf_mse_of[1], 0.5);
  EXPECT_LT(e.nodes[1].independence_p, 0.01);
  EXPECT_LT(e.nodes[1].log_density, -1.5);
}

TEST(ScmEvaluation, WithoutTruthComparesWithTheData) {
  const auto truth = world(1);
  const auto data = truth.sample(causal::first_rows(77, 500)).value;
  const ScmEvaluation e = evaluate_scm(truth, nullptr, data, quick());
  EXPECT_FALSE(e.with_truth);
  EXPECT_TRUE(e.interventions.empty());
  EXPECT_LT(e.observational.model, 0.05);
  const auto json = to_json(e);
  EXPECT_FALSE(json.contains("counterfactual_mse"));
  EXPECT_TRUE(json["nodes"][0]["independence_p_value"].is_null());
}

TEST(ScmEvaluation, SaysWhichCounterfactualsItCannotAnswer) {
  const auto truth = world(1), folded = world(1, "abs(u)");
  const auto data = truth.sample(causal::first_rows(77, 500)).value;
  const ScmEvaluation e = evaluate_scm(folded, &truth, data, quick());
  EXPECT_FALSE(e.interventions[0].counterfactual);
  EXPECT_TRUE(to_json(e)["counterfactual_mse"].is_null());
}

TEST(ScmEvaluation, RefusesWhatItCannotUse) {
  const auto truth = world(1);
  const auto data = truth.sample(causal::first_rows(77, 500)).value;
  ScmEvaluationOptions options = quick();
  options.interventions = {"z"};
  testing::expect_error([&] { evaluate_scm(truth, &truth, data, options); },
                        "do(z): nothing depends on it");
  const auto few = truth.sample(causal::first_rows(77, 5)).value;
  testing::expect_error([&] { evaluate_scm(truth, &truth, few, quick()); }, "5 rows of data");
}

}  // namespace
}  // namespace diffscm
