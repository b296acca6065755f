// What a U-Net is trained on and for: noisy images, what it is told about them, the error of its
// estimate of the noise and, where it learns the variance of its steps, what they cost.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/unet.h"
#include "training/noisy_batches.h"
#include "training/trainer.h"

namespace diffscm {

struct DiffusionTrainingOptions {
  int64_t batch = 64;
  uint64_t seed = 0;
  bool min_snr = false;  // training/noisy_batches.h; otherwise all levels weigh the same
  Augmentation augmentation = {};
  double drop = 0;        // how often the network is told nothing
  bool variance = false;  // the network learns it (UNetConfig::learns_variance)
};

class DiffusionTraining {
 public:
  // Of a network that is told `conditions`, by their names among the attributes of the data set. It
  // refers to `dataset` and `schedule`. Throws Error for a name that the data set lacks.
  DiffusionTraining(const data::Dataset& dataset, const NoiseSchedule& schedule,
                    std::vector<Condition> conditions, const DiffusionTrainingOptions& options,
                    Target target);

  TrainingBatch batch(int64_t step) const;
  // Mean squared error of eps (Ho et al. 2020, eq. 14); of a network that learns the variance,
  // L_hybrid (Nichol & Dhariwal 2021, eq. 16), the sum of that and of bound_weight() times the term
  // of the variational bound (training/variational_bound.h), which moves v alone.
  TrainingLoss loss(const UNet& unet, const TrainingBatch& batch, ForwardContext& context) const;
  // The names of the loss's parts: none, or "mse" and "vlb", that term before it is weighed.
  std::vector<std::string> parts() const;

 private:
  const data::Dataset& dataset_;
  const NoiseSchedule& schedule_;
  std::vector<Condition> conditions_;
  DiffusionTrainingOptions options_;
  Target target_;
  NoisyBatches batches_;
};

}  // namespace diffscm
