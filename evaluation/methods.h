// The ways to answer "what would it have been?" that are compared: each becomes a producer of an
// experiment (evaluation/experiment.h).
#pragma once

#include "causal/counterfactual.h"
#include "diffusion/anti_causal_predictor.h"
#include "evaluation/baselines/greedy.h"
#include "evaluation/baselines/prototype.h"
#include "evaluation/experiment.h"

namespace diffscm {

// Diff-SCM at several scales s, one arm each, from one abduction per image. Arms are named NAME or,
// with several scales, "s=0.7". Beside the image each trial gets
//   residual, converged     of the abduction (fixed-point only)
//   evaluations, gradients  of the U-Net and of the classifier, per image and arm
//   seconds                 per image and arm
//   composition_1           L1 of the reconstruction to the factual, grey levels
//   composition_10          the same after ten rounds, for places below `cycled_images`
//   reversibility           L1 to the factual after do(target) and then do(label), likewise
struct DiffScmOptions {
  std::string name = "diff-scm", title = "Diff-SCM";
  AbductionOptions abduction;
  std::vector<double> scales{1};
  int64_t cycled_images = 0;
  int64_t images_per_repeat = 1;  // to find a trial's place
};
Producer diff_scm(const DiffusionModel& model, const AntiCausalPredictor& predictor,
                  const DiffScmOptions& options, const Progress& progress);

// Without abduction: guided sampling from fresh noise, and SDEdit up to `fraction` of the chain.
Producer guided_sampling(const DiffusionModel& model, const AntiCausalPredictor& predictor,
                         double scale, uint64_t seed, const Progress& progress);
Producer sdedit(const DiffusionModel& model, const AntiCausalPredictor& predictor, double scale,
                double fraction, uint64_t seed, const Progress& progress);

// The classical methods, which explain a classifier of clean images.
Producer prototype_guided(baselines::PrototypeNetworks networks,
                          const baselines::PrototypeOptions& options, Target target,
                          const Progress& progress);
Producer greedy_pixels(baselines::ImageFunction logits, const baselines::GreedyOptions& options,
                       Target target, const Progress& progress);

// Controls: the factual image itself, and a random training image of the target class.
Producer factual_itself();
Producer training_image(const data::Dataset& train, uint64_t seed);

}  // namespace diffscm
