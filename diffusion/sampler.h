// Samplers: from a noisy image at level L of the chain to a clean one at level 0.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "diffusion/guidance.h"
#include "diffusion/noise_schedule.h"
#include "diffusion/progress.h"
#include "diffusion/step.h"

namespace diffscm {

enum class SamplerKind { ddpm, ddim, ode, sde };
const char* name_of(SamplerKind kind);
// Throws Error naming the choices.
SamplerKind parse_sampler_kind(std::string_view name);

// Variance of an ancestral step: the posterior's (exact for a point mass), or the forward step's
// own beta (exact for a standard normal): Ho et al. 2020, section 3.2. Or what the network learnt,
// for each pixel, between the two: Nichol & Dhariwal 2021, eq. 15.
enum class DdpmVariance { fixed_small, fixed_large, learnt };
// "small", "large" or "learnt"; throws Error naming the choices.
DdpmVariance parse_ddpm_variance(std::string_view name);

struct SamplerOptions {
  SamplerKind kind = SamplerKind::ddim;
  double eta = 0;                                     // ddim only: 0 deterministic .. 1 ancestral
  DdpmVariance variance = DdpmVariance::fixed_small;  // ddpm only
  // What the network said of it when it was last asked: v, of at least as many images as there are,
  // -1 for the posterior's and 1 for beta. Needed by `learnt`.
  std::function<Tensor()> learnt{};
  ThresholdOptions threshold{};  // ddpm and ddim only
  uint64_t seed = 0;             // of the noise added on the way
};
// Throws Error naming the value that cannot be used.
void validate(const SamplerOptions& options);

// Standard normal images [N, ..] to start from. Image n is a function of (seed, index[n]) alone; an
// empty `index` means 0 .. N-1.
Tensor initial_noise(const Shape& shape, std::span<const int64_t> index, uint64_t seed,
                     Target target = Target::cpu);

// Walks x [N, ..] from level `levels` of the chain (0 = all of it) to the clean image.
//   ddpm  ancestral sampling (Ho et al. 2020, alg. 2); guided: Dhariwal & Nichol 2021, alg. 1
//   ddim  Song et al. 2021, eq. 12 and 16; guided: Dhariwal & Nichol 2021, alg. 2
//   ode   probability-flow ODE in y = x / sqrt(alpha_bar), dy/dsigma = eps, by Heun's second-order
//         method on the chain's grid; two network evaluations per level (Karras et al. 2022, alg.
//         1)
//   sde   reverse variance-exploding SDE in the same y by Euler-Maruyama (Song et al. 2021b)
// The last step adds no noise. Image n's noise depends on (seed, index[n], level) alone; empty
// `index` means 0 .. N-1. x itself is left unchanged. Throws Error for options, levels or shapes
// that make no sense; passes on what `progress` and `observer` throw.
Tensor sample(const EpsilonModel& epsilon, const Guidance& guidance, const Chain& chain, int levels,
              const Tensor& x, const SamplerOptions& options, std::span<const int64_t> index = {},
              const Progress& progress = {}, const Observer& observer = {});

}  // namespace diffscm
