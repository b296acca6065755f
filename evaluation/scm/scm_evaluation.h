// How good a fitted causal model is: on data, and, where the structural equations that made the
// data are known, on all three rungs.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "causal/scm.h"

namespace diffscm {

struct ScmEvaluationOptions {
  uint64_t seed = 0;
  // With the truth, by the protocol of Chao et al. 2023 (DCM):
  int64_t observational_rows = 1000;
  int64_t interventional_rows = 100;
  int64_t counterfactual_rows = 100;
  int values = 20;  // per node that do() sets, from its 10% to 90% quantile
  std::vector<std::string> interventions{};  // nodes; empty: all that have descendants
  // Per node:
  int64_t judged_rows = 1000;  // of the data, for likelihood and calibration
  int64_t crps_rows = 200;
  int crps_draws = 50;
  int64_t independence_rows = 300;
  int permutations = 199;
  // After so many of so many parts; throwing ends the work.
  std::function<void(int done, int total)> progress = {};
};

// Of a model and of the truth itself against the truth: what is left for lack of rows.
struct Discrepancy {
  double model = 0, floor = 0;
};

// do(node = value), averaged over the values.
struct InterventionScore {
  std::string node;
  std::vector<double> values;
  Discrepancy mmd;                // all descendants together, numbers as they are, states one-hot
  bool counterfactual = true;     // false: the model cannot abduct a node that it needs
  double cf_mse = 0;              // mean over rows and descendants of the squared error
  double cf_mse_first = 0;        // of the alphabetically first descendant alone, as DCM prints it
  std::vector<double> cf_mse_of;  // per descendant
  std::vector<std::string> descendants;
};

struct NodeScore {
  std::string node, mechanism;
  double log_density = 0;    // mean, nats; NaN: none
  double crps = 0;           // NaN: a discrete node
  double crps_marginal = 0;  // of draws from the data, whatever the parents: what has to be beaten
  double accuracy = 0, calibration_error = 0;  // NaN: a number
  double independence_p = 0;  // of recovered noise and parents; NaN: a root, or noise not recovered
};

struct ScmEvaluation {
  bool with_truth = false;
  Discrepancy observational;  // non-root nodes together; without truth, against the data
  std::vector<InterventionScore> interventions;
  std::vector<NodeScore> nodes;

  // Means over interventions.
  Discrepancy interventional() const;
  double cf_mse() const;  // NaN: of none
  double cf_mse_first() const;
};

// `data` [all nodes] are rows that the model was not fitted to. `truth` may be null; else its nodes
// are the model's, and its mechanisms must all be known. Throws Error for graphs that differ, for
// data without rows, and for a latent node.
ScmEvaluation evaluate_scm(const causal::StructuralCausalModel& model,
                           const causal::StructuralCausalModel* truth,
                           const causal::NodeValues& data, const ScmEvaluationOptions& options);

nlohmann::ordered_json to_json(const ScmEvaluation& evaluation);

}  // namespace diffscm
