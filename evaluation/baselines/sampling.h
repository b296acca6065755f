// Diffusion without abduction: what is lost when the image's own noise is not recovered.
#pragma once

#include "diffusion/sampler.h"

namespace diffscm::baselines {

// SDEdit with class guidance (Meng et al. 2022): fresh noise takes the factual image [N,H,W,C] up
// to level L = `levels`, where x_L = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise, and guided
// sampling brings it down. Small L keeps the image, large L the intervention. Image i's noise
// depends on (options.seed, index[i]) alone. Throws Error for levels outside 1 .. S.
Tensor sdedit(const EpsilonModel& epsilon, const Guidance& guidance, const Chain& chain, int levels,
              const Tensor& factual, const SamplerOptions& options, std::span<const int64_t> index,
              const Progress& progress = {});

// Guided sampling from pure noise: an image of the target class that never saw the factual one.
Tensor guided_sample(const EpsilonModel& epsilon, const Guidance& guidance, const Chain& chain,
                     const Shape& shape, Target target, const SamplerOptions& options,
                     std::span<const int64_t> index, const Progress& progress = {});

}  // namespace diffscm::baselines
