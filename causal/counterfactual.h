// The counterfactual of an image under an intervention on its parents: abduction, action,
// prediction (Pearl 2009, section 7.1; Sanchez & Tsaftaris 2022, algorithm 1).
#pragma once

#include <vector>

#include "diffusion/abduction.h"

namespace diffscm {

// The action do(parent = value), as it reaches the image: by the gradient of an anti-causal
// predictor (classifier guidance), by a network that knows the parents (classifier-free guidance),
// or by both. Targets are bound per image of the batch.
struct Intervention {
  GuidanceGradient gradient{};  // or empty
  EpsilonModel conditional{};   // or empty; eps = eps_u + s (eps_c - eps_u)
};

struct CounterfactualOptions {
  AbductionOptions abduction{};     // its `levels` is that of the prediction too
  std::vector<double> scales{0.7};  // s >= 0, one counterfactual each
  ThresholdOptions threshold{};     // of the prediction
};
// Throws Error naming the value that cannot be used.
void validate(const CounterfactualOptions& options);

struct Counterfactual {
  Abduction abduction;
  Tensor reconstruction;               // prediction without intervention, shaped like the factual
  std::vector<Tensor> counterfactual;  // one per scale
};

// A pure function of its arguments. Abduces u once, with `epsilon` alone; then predicts by DDIM
// (eta 0) from that same u, without intervention and at each scale. s = 0 asks neither the gradient
// nor the conditional network and is the reconstruction, which without a threshold is the factual
// image to the tolerance of the abduction. `progress` counts levels over all passes. Throws Error
// for options or shapes that make no sense; passes on what `progress` throws.
Counterfactual counterfactual(const EpsilonModel& epsilon, const Intervention& intervention,
                              const Chain& chain, const Tensor& factual,
                              const CounterfactualOptions& options, const Progress& progress = {});

}  // namespace diffscm
