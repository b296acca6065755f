// How well an anti-causal predictor sees through noise: what decides at which levels it can guide.
#pragma once

#include <vector>

#include "models/classifier.h"
#include "training/noisy_batches.h"

namespace diffscm {

struct NoiseLevelAccuracy {
  int timestep;
  double alpha_bar;
  double accuracy;  // 0 .. 1
};

// Accuracy on the first `images` of `dataset`, diffused to `levels` evenly spaced timesteps from 0
// to T-1; the network sees `batch` images at a time.
std::vector<NoiseLevelAccuracy> noise_level_accuracy(const Classifier& classifier,
                                                     const data::Dataset& dataset,
                                                     const NoiseSchedule& schedule, int64_t images,
                                                     int levels, uint64_t seed, Target target,
                                                     int64_t batch = 100);

}  // namespace diffscm
