// Are samples of a diffusion model like its data? Where they are not, no counterfactual of the same
// network can be.
#pragma once

#include <span>
#include <vector>

#include "evaluation/metrics/evaluator.h"
#include "evaluation/summary.h"

namespace diffscm {

constexpr double kSure = 0.9;

// Share of images to which the oracle gives some class with more than kSure.
double sure_share(const ClassProbabilities& probabilities);

struct SampleSet {
  const char *name, *title;
  Tensor images;  // [N,H,W,C]
};

// A row for each set, all of the same N, and two more, on the oracle's features:
//   the sets      Frechet and kernel distance to the test set; `sure`
//   sample-floor  the same of N training images, drawn by `seed`: what the model's own data
//                 score, as both distances are of finite sets
//   test-images   `sure` of the test set
// Throws Error for more samples than there are training images.
std::vector<ArmSummary> sample_quality(const Evaluator& evaluator, std::span<const SampleSet> sets,
                                       const data::Dataset& train, const data::Dataset& test,
                                       uint64_t seed);

}  // namespace diffscm
