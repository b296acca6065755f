// Greedy pixel steps on a robust ensemble: Schut et al. 2021, "Generating interpretable
// counterfactual explanations by implicit minimisation of epistemic and aleatoric uncertainties".
#pragma once

#include "diffusion/progress.h"
#include "evaluation/baselines/baseline.h"

namespace diffscm::baselines {

// Defaults as in the authors' experiments on MNIST.
struct GreedyOptions {
  int changes = 5;  // each pixel moves at most so often, by 1/changes of the range
  int max_iterations = 5000;
  double confidence = 0.99;  // stop at p(target) >= this
};
// Throws Error naming the value that cannot be used.
void validate(const GreedyOptions& options);

// Per image, until p(target) is confident: takes g = d log p(target) / d x and moves the one pixel
// with the largest |g|, among those with moves left that are not at their bound already, a step in
// the direction of g. `logits`: the mean logits of an adversarially trained ensemble (whose
// certainty stands for realism), [N, classes] for images in [-1, 1].
// Differences from the authors' code: it stops at the target class (theirs at any other class), and
// spends no step on a pixel that cannot move.
// Images leave the batch when they are done; no result depends on what else is in the batch.
Explanation greedy(const ImageFunction& logits, const Tensor& factual,
                   std::span<const int64_t> targets, const GreedyOptions& options,
                   const Progress& progress = {});

}  // namespace diffscm::baselines
