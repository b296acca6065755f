#include "training/variational_bound.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/variational_bound.h"

namespace diffscm {
namespace {

kernels::BoundStep bound_step(const NoiseSchedule& schedule, int t) {
  const double beta = schedule.beta(t);
  // The first step's posterior variance, 0, is the second's.
  const int s = std::min(std::max(t, 1), schedule.timesteps() - 1);
  const double least =
      s == 0 ? beta
             : schedule.beta(s) * (1 - schedule.alpha_bar(s - 1)) / (1 - schedule.alpha_bar(s));
  return {.gap = static_cast<float>(std::log(beta / least)),
          .log_least = static_cast<float>(std::log(least)),
          .slope = static_cast<float>(beta / std::sqrt((1 - beta) * (1 - schedule.alpha_bar(t)))),
          .last = t == 0 ? 1.0f : 0.0f};
}

}  // namespace

Tensor bound_steps(const NoiseSchedule& schedule, std::span<const int> timesteps, Target target) {
  std::vector<float> steps;
  for (const int t : timesteps) {
    const kernels::BoundStep s = bound_step(schedule, t);
    steps.insert(steps.end(), {s.gap, s.log_least, s.slope, s.last});
  }
  return Tensor::from(steps, {static_cast<int64_t>(timesteps.size()), 4}, target);
}

}  // namespace diffscm
