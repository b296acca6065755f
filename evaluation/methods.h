// The ways to answer "what would it have been?" that are compared: each becomes a producer of an
// experiment (evaluation/experiment.h).
#pragma once

#include "causal/counterfactual.h"
#include "causal/intervention.h"
#include "diffusion/anti_causal_predictor.h"
#include "evaluation/baselines/greedy.h"
#include "evaluation/baselines/prototype.h"
#include "evaluation/bound.h"
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
  GuidanceKind guidance = GuidanceKind::classifier;
  Encoding encoding = Encoding::unconditional;
  AbductionOptions abduction;
  std::vector<double> scales{CounterfactualOptions::kScale};
  int64_t cycled_images = 0;
  int64_t images_per_repeat = 1;  // to find a trial's place
};
Producer diff_scm(const DiffusionModel& model, const AntiCausalPredictor& predictor,
                  const DiffScmOptions& options, const Progress& progress);
// How it acts on these trials. Throws Error when the networks do not know what they set.
Action diff_scm_action(const DiffusionModel& model, const AntiCausalPredictor& predictor,
                       const DiffScmOptions& options, std::span<const Trial> trials);

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

// Controls: the factual image itself, a random training image of the target class, and what no
// method that sees the image alone can beat on average (evaluation/bound.h).
Producer factual_itself();
Producer training_image(const data::Dataset& train, uint64_t seed);
Producer bound_answer(const Bound& bound, Target target);

}  // namespace diffscm
