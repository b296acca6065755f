// How well a regressor sees through noise: the sigma_t of its density, which decides at which
// levels it can guide.
#pragma once

#include <vector>

#include "models/regressor.h"
#include "training/noisy_batches.h"

namespace diffscm {

// Errors on the first `images` of `dataset`, diffused to `levels` evenly spaced timesteps from 0 to
// T-1; the network sees `batch` images at a time. Throws Error when the data set lacks the
// attribute.
std::vector<NoiseLevelError> noise_level_errors(const Regressor& regressor,
                                                const data::Dataset& dataset,
                                                const NoiseSchedule& schedule, int64_t images,
                                                int levels, uint64_t seed, Target target,
                                                int64_t batch = 100);

}  // namespace diffscm
