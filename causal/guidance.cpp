#include "causal/guidance.h"

#include <cmath>
#include <utility>

#include "causal/batch.h"

namespace diffscm {

GuidanceGradient sum(std::vector<GuidanceGradient> terms) {
  require(!terms.empty(), "a sum of no guidance gradients: give at least one intervened parent");
  for (size_t i = 0; i < terms.size(); ++i)
    require(static_cast<bool>(terms[i]), "guidance gradient {} of {} is empty", i + 1,
            terms.size());
  if (terms.size() == 1) return std::move(terms.front());
  return [terms = std::move(terms)](const Tensor& x, int timestep) {
    Tensor total = guidance_at(terms.front(), x, timestep);
    for (size_t i = 1; i < terms.size(); ++i)
      total = combine(1, total, 1, guidance_at(terms[i], x, timestep));
    return total;
  };
}

GuidanceGradient scaled(GuidanceGradient gradient, double weight) {
  require(static_cast<bool>(gradient), "cannot scale an empty guidance gradient");
  require(std::isfinite(weight), "guidance weight {} is not finite", weight);
  return [gradient = std::move(gradient), weight](const Tensor& x, int timestep) {
    const Tensor g = guidance_at(gradient, x, timestep);
    return combine(weight, g, 0, g);
  };
}

EpsilonModel classifier_free(EpsilonModel unconditional, EpsilonModel conditional, double w) {
  require(unconditional && conditional,
          "classifier-free guidance needs a conditional and an unconditional noise model");
  require(std::isfinite(w), "classifier-free guidance scale {} is not finite", w);
  return [unconditional = std::move(unconditional), conditional = std::move(conditional), w](
             const Tensor& x, int timestep) {
    return combine(1 - w, predict_noise(unconditional, x, timestep), w,
                   predict_noise(conditional, x, timestep));
  };
}

}  // namespace diffscm
