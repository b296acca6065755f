// The counterfactual of an image under an intervention on its parents: abduction, action,
// prediction (Pearl 2009, section 7.1; Sanchez & Tsaftaris 2022, algorithm 1).
#pragma once

#include <compare>
#include <functional>
#include <vector>

#include "diffusion/abduction.h"

namespace diffscm {

struct CounterfactualOptions {
  static constexpr double kScale = 1;  // what Bayes' rule says for both kinds of guidance
  AbductionOptions abduction{};        // its `levels` is that of the prediction too
  // s >= 0, one counterfactual each; none: abduction and reconstruction alone, as for s = 1.
  std::vector<double> scales{kScale};
  ThresholdOptions threshold{};  // of the prediction
};
// Throws Error naming the value that cannot be used.
void validate(const CounterfactualOptions& options);

// What stands in the place of the image's mechanism, factually and under do(); the scales of all
// terms are multiplied by s.
struct Action {
  // Unconditional, or conditional and bound to the factual parents.
  EpsilonModel epsilon;
  Guidance guidance{};  // of the prediction under do()
  Guidance factual{};   // of the abduction, and of the prediction without intervention
};

struct Counterfactual {
  // One for all scales; where something guides it, one for each.
  std::vector<Abduction> abduction;
  std::vector<Tensor> reconstruction;  // of each abduction: prediction without intervention
  std::vector<Tensor> counterfactual;  // one per scale

  // The abduction that the counterfactual at scales[s] comes from.
  size_t source(size_t s) const { return abduction.size() > 1 ? s : 0; }
};

// What a walk along the chain is for, and the place of the first scale that it serves.
struct Pass {
  enum Kind { abduction, reconstruction, prediction } kind;
  size_t scale;
  auto operator<=>(const Pass&) const = default;
};
// Told what stands at each level of each pass (diffusion/progress.h). s = 0 goes without a
// prediction.
using PassObserver = std::function<void(const Pass& pass, int level, const Tensor& x)>;

// A pure function of its arguments. Abduces u, then predicts from that same u, without intervention
// and under do() at each scale. s = 0 asks no term and is the reconstruction, which without a
// threshold is the factual image to the tolerance of the abduction.
//
// With a condition for do(), eps = eps_factual + s (eps_counterfactual - eps_factual): s = 1 is the
// plain conditional model. With gradients, p(x | parents) is taken as p(x) p(parents | x)^s. Where
// `epsilon` or `factual` know the factual parents, do() of them returns the factual at every s.
//
// `progress` counts levels over all passes. Throws Error for options or shapes that make no sense;
// passes on what `progress` and `observer` throw.
Counterfactual counterfactual(const Action& action, const Chain& chain, const Tensor& factual,
                              const CounterfactualOptions& options, const Progress& progress = {},
                              const PassObserver& observer = {});

}  // namespace diffscm
