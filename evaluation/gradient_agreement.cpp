#include "evaluation/gradient_agreement.h"

#include <cmath>

#include "diffusion/batch.h"
#include "evaluation/noise_level_accuracy.h"
#include "training/noisy_batches.h"

namespace diffscm {

std::vector<GradientAgreement> gradient_agreement(const GuidanceGradient& classifier,
                                                  const EpsilonModel& unconditional,
                                                  const EpsilonModel& conditional, const Tensor& x0,
                                                  const std::vector<int64_t>& index,
                                                  const NoiseSchedule& schedule, int levels,
                                                  uint64_t seed) {
  require(classifier && unconditional && conditional,
          "gradient_agreement needs a classifier's gradient, a noise model and a conditional one");
  std::vector<GradientAgreement> result;
  for (const int t : evenly_spaced_timesteps(schedule, levels)) {
    const double a = schedule.alpha_bar(t);
    const Tensor x_t = diffuse(x0, index, schedule, t, seed);
    const Tensor explicit_one = classifier(x_t, t);
    const double per_sigma = 1 / std::sqrt(1 - a);
    const Tensor implicit_one =
        combine(per_sigma, unconditional(x_t, t), -per_sigma, conditional(x_t, t));
    const std::vector<TensorPair> pairs{
        {explicit_one, implicit_one}, {explicit_one, explicit_one}, {implicit_one, implicit_one}};
    const auto dots = sample_dots(pairs);
    std::vector<double> cosine, ratio;
    for (size_t i = 0; i < index.size(); ++i) {
      if (!(dots[1][i] > 0 && dots[2][i] > 0)) continue;
      cosine.push_back(dots[0][i] / std::sqrt(dots[1][i] * dots[2][i]));
      ratio.push_back(std::sqrt(dots[1][i] / dots[2][i]));
    }
    result.push_back({t, a, mean_with_interval(cosine), mean_with_interval(ratio)});
  }
  return result;
}

}  // namespace diffscm
