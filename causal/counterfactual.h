// The counterfactual of an image under an intervention on its parents: abduction, action,
// prediction (Pearl 2009, section 7.1; Sanchez & Tsaftaris 2022, algorithm 1).
#pragma once

#include <functional>
#include <vector>

#include "diffusion/abduction.h"

namespace diffscm {

struct CounterfactualOptions {
  static constexpr double kScale = 1;  // what Bayes' rule says for both kinds of guidance
  AbductionOptions abduction{};        // its `levels` is that of the prediction too
  std::vector<double> scales{kScale};  // s >= 0, one counterfactual each
  ThresholdOptions threshold{};        // of the prediction
};
// Throws Error naming the value that cannot be used.
void validate(const CounterfactualOptions& options);

struct Counterfactual {
  Abduction abduction;
  Tensor reconstruction;               // prediction without intervention, shaped like the factual
  std::vector<Tensor> counterfactual;  // one per scale
};

// Told what stands at each level of each pass (diffusion/progress.h): 0 is the abduction, 1 the
// reconstruction, 2 + i the prediction at scales[i], which s = 0 goes without.
using PassObserver = std::function<void(size_t pass, int level, const Tensor& x)>;

// A pure function of its arguments. Abduces u once, with `epsilon` alone; then predicts from that
// same u, without intervention and under `action`, its terms multiplied by each scale. s = 0 asks
// none of them and is the reconstruction, which without a threshold is the factual image to the
// tolerance of the abduction.
//
// `epsilon` is unconditional, or conditional and bound to the factual parents. With a condition for
// the action, eps = eps_factual + s (eps_counterfactual - eps_factual): s = 1 is the plain
// conditional model, and do() of the factual value returns the factual at every s.
//
// `progress` counts levels over all passes. Throws Error for options or shapes that make no sense;
// passes on what `progress` and `observer` throw.
Counterfactual counterfactual(const EpsilonModel& epsilon, const Guidance& action,
                              const Chain& chain, const Tensor& factual,
                              const CounterfactualOptions& options, const Progress& progress = {},
                              const PassObserver& observer = {});

}  // namespace diffscm
