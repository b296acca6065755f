#include "diffusion/guidance.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "diffusion/batch.h"

namespace diffscm {

GuidanceGradient sum(std::vector<GuidanceGradient> terms) {
  require(!terms.empty(), "a sum of no guidance gradients: give at least one intervened parent");
  for (size_t i = 0; i < terms.size(); ++i)
    require(static_cast<bool>(terms[i]), "guidance gradient {} of {} is empty", i + 1,
            terms.size());
  if (terms.size() == 1) return std::move(terms.front());
  const bool recordable = std::all_of(terms.begin(), terms.end(),
                                      [](const auto& term) { return term.is_recordable(); });
  const auto body = [terms = std::move(terms)](const Tensor& x, const auto& t) {
    Tensor total = guidance_at(terms.front(), x, t);
    for (size_t i = 1; i < terms.size(); ++i)
      total = combine(1, total, 1, guidance_at(terms[i], x, t));
    return total;
  };
  return combined(body, recordable);
}

GuidanceGradient scaled(GuidanceGradient gradient, double weight) {
  require(static_cast<bool>(gradient), "cannot scale an empty guidance gradient");
  require(std::isfinite(weight), "guidance weight {} is not finite", weight);
  const bool recordable = gradient.is_recordable();
  const auto body = [gradient = std::move(gradient), weight](const Tensor& x, const auto& t) {
    const Tensor g = guidance_at(gradient, x, t);
    return combine(weight, g, 0, g);
  };
  return combined(body, recordable);
}

EpsilonModel classifier_free(EpsilonModel unconditional, EpsilonModel conditional, double w) {
  require(unconditional && conditional,
          "classifier-free guidance needs a conditional and an unconditional noise model");
  require(std::isfinite(w), "classifier-free guidance scale {} is not finite", w);
  const bool recordable = unconditional.is_recordable() && conditional.is_recordable();
  const auto body = [unconditional = std::move(unconditional), conditional = std::move(conditional),
                     w](const Tensor& x, const auto& t) {
    return combine(1 - w, predict_noise(unconditional, x, t), w, predict_noise(conditional, x, t));
  };
  return combined(body, recordable);
}

}  // namespace diffscm
