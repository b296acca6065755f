// Answers by samples, where no exact one is known.
#pragma once

#include <functional>
#include <vector>

#include "causal/inference/exact.h"

namespace diffscm::causal {

struct SampleOptions {
  int64_t samples = 100000;
  uint64_t seed = 0;
  std::function<void(double done, double total)> progress = {};  // what it throws ends the work
};

struct WeightedSamples {
  NodeValues of;                // each node of Question::of, in that order, in the world of do()
  std::vector<double> weights;  // the largest is 1
  bool deterministic = false;   // one sample is all: every noise that matters is known exactly
  bool weighted = false;        // weights differ: the evidence was reached by importance sampling

  // sum(w)^2 / sum(w^2) (Kong 1992): of how many equal samples these are worth.
  double effective() const;
};

// Likelihood weighting: nodes in topological order, those known fixed and weighted by their density
// given their parents, the others drawn. With something observed and something done, the noise of
// known nodes is abducted, that of others kept, and prediction under do() follows; what is given in
// that world (discrete nodes) rejects. Only nodes that matter to the question are computed. Row r
// of the samples reads the random numbers of row r, whatever their number. Throws Error when a
// known node has no density and needs one, cannot be abducted, or when no sample agrees with the
// evidence.
WeightedSamples draw_samples(const StructuralCausalModel& model, const Question& question,
                             const SampleOptions& options);

}  // namespace diffscm::causal
