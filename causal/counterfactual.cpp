#include "causal/counterfactual.h"

#include <algorithm>
#include <cmath>

#include "diffusion/batch.h"
#include "diffusion/guidance.h"

namespace diffscm {

void validate(const CounterfactualOptions& options) {
  validate(options.abduction);
  for (const double s : options.scales)
    require(std::isfinite(s) && s >= 0, "guidance scale {}: give finite numbers >= 0", s);
  validate(SamplerOptions{.threshold = options.threshold});
}

Counterfactual counterfactual(const EpsilonModel& epsilon, const Intervention& intervention,
                              const Chain& chain, const Tensor& factual,
                              const CounterfactualOptions& options, const Progress& progress) {
  validate(options);
  const auto guided =
      std::count_if(options.scales.begin(), options.scales.end(), [](double s) { return s > 0; });
  require(guided == 0 || intervention.gradient || intervention.conditional,
          "a guidance scale above 0 needs a classifier or a conditional model");
  const int levels = chain.checked_levels(options.abduction.levels);
  const int total = levels * (2 + static_cast<int>(guided));
  int passes = 0;
  const auto next_pass = [&]() -> Progress {
    const int before = levels * passes++;
    if (!progress) return {};
    return [&progress, before, total](int done, int) { progress(before + done, total); };
  };

  Counterfactual result;
  result.abduction = abduct(epsilon, chain, factual, options.abduction, next_pass());

  const auto predict = [&](const EpsilonModel& model, const GuidanceGradient& gradient, double s) {
    const SamplerOptions sampler{
        .kind = SamplerKind::ddim, .guidance_scale = s, .threshold = options.threshold};
    return sample(model, gradient, chain, levels, result.abduction.latent, sampler, {},
                  next_pass());
  };
  result.reconstruction = predict(epsilon, {}, 0);
  for (const double s : options.scales) {
    if (s == 0) {
      result.counterfactual.push_back(result.reconstruction.clone());
    } else if (intervention.conditional) {
      result.counterfactual.push_back(
          predict(classifier_free(epsilon, intervention.conditional, s), intervention.gradient, s));
    } else {
      result.counterfactual.push_back(predict(epsilon, intervention.gradient, s));
    }
  }
  return result;
}

}  // namespace diffscm
