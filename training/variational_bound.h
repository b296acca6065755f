// The part of the loss that teaches a network the variance of its steps (Nichol & Dhariwal 2021,
// section 3.1). Its operator is kernels/variational_bound.h.
#pragma once

#include <span>

#include "diffusion/noise_schedule.h"
#include "engine/tensor.h"

namespace diffscm {

// [N,4] f32: what the operator needs to know of the timesteps of N samples, of steps from t to t-1
// over the whole schedule. Throws Error for a timestep that it does not have.
Tensor bound_steps(const NoiseSchedule& schedule, std::span<const int> timesteps, Target target);

// What the term of one timestep weighs beside the squared error of eps. The paper's L_vlb is the
// sum of T terms, which it weighs by 0.001; guided-diffusion's "rescaled" losses too.
inline double bound_weight(const NoiseSchedule& schedule) {
  return schedule.timesteps() / 1000.0;
}

}  // namespace diffscm
