// The inner problem of exact abduction: one step of the chain, solved backwards for a batch of
// images.
#pragma once

#include <cstdint>
#include <vector>

#include "diffusion/guidance.h"
#include "diffusion/noise_schedule.h"

namespace diffscm {

struct FixedPointOptions {
  double tolerance;    // grey levels, RMS over the image
  int max_iterations;  // network evaluations per image
  int memory;          // secants that Anderson acceleration remembers, 0 .. kMaxAndersonMemory
  // Iterations after which the host first looks who is finished, where that makes a device wait: no
  // more than the quickest image is expected to need. It changes no result.
  int unseen = 1;
};
inline constexpr int kMaxAndersonMemory = kernels::kAndersonMemoryMost;

struct FixedPoint {
  Tensor x;                     // [N, ..] at `level`
  Tensor eps;                   // the direction that the step takes from there
  std::vector<float> residual;  // [N] 127.5 rms(y - step(x)); infinite when the network's answer
                                // was not finite
  std::vector<uint8_t>
      converged;  // [N] residual within the tolerance, or within f32 round-off: where
                  // the step multiplies x by A > 1, about 1.5e-5 A grey levels
  std::vector<int> evaluations;  // [N]
};

// Finds the x from which the unclipped step of `denoiser`, from `level` to the level below, returns
// y [N, ..]. Starts at `guess`.
FixedPoint solve_step(const Denoiser& denoiser, const Chain& chain, int level, const Tensor& y,
                      const Tensor& guess, const FixedPointOptions& options);

}  // namespace diffscm
