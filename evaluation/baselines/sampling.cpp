#include "evaluation/baselines/sampling.h"

#include <cmath>

#include "diffusion/batch.h"

namespace diffscm::baselines {

Tensor sdedit(const EpsilonModel& epsilon, const Guidance& guidance, const Chain& chain, int levels,
              const Tensor& factual, const SamplerOptions& options, std::span<const int64_t> index,
              const Progress& progress) {
  require_batch(factual, "the image to edit");
  require(levels >= 1 && levels <= chain.levels(), "SDEdit from level {}: give 1 to {}", levels,
          chain.levels());
  const double a = chain.alpha_bar(levels);
  const Tensor noise = initial_noise(factual.shape(), index, options.seed, factual.target());
  return sample(epsilon, guidance, chain, levels,
                combine(std::sqrt(a), factual, std::sqrt(1 - a), noise), options, index, progress);
}

Tensor guided_sample(const EpsilonModel& epsilon, const Guidance& guidance, const Chain& chain,
                     const Shape& shape, Target target, const SamplerOptions& options,
                     std::span<const int64_t> index, const Progress& progress) {
  return sample(epsilon, guidance, chain, 0, initial_noise(shape, index, options.seed, target),
                options, index, progress);
}

}  // namespace diffscm::baselines
