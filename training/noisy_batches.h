// The training distribution: clean images, a uniformly drawn timestep each, and the noise that
// takes them there. Everything is a function of (seed, step), so a resumed run sees what it would
// have seen.
#pragma once

#include <span>
#include <vector>

#include "data/dataset.h"
#include "diffusion/noise_schedule.h"
#include "training/image_batches.h"

namespace diffscm {

struct NoisyBatch {
  std::vector<int64_t> index;   // into the data set
  std::vector<int64_t> labels;  // empty if the data set has none
  std::vector<int> timesteps;
  Tensor label;  // [N] i64, the labels in the target's memory; or empty
  Tensor t;      // [N] the timesteps likewise, as f32
  Tensor noise;  // [N,H,W,C] eps, standard normal
  Tensor x_t;    // sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps
};

class NoisyBatches {
 public:
  NoisyBatches(const data::Dataset& dataset, const NoiseSchedule& schedule, int64_t batch,
               uint64_t seed, Target target, const Augmentation& augmentation = {});
  // The batch of step 0, 1, ... Each epoch is a fresh permutation of the data set. Timesteps are
  // uniform on 0 .. T-1, stratified over the batch: sample i falls into stratum pi(i) of N equal
  // ones, which lowers the loss's variance and changes no expectation.
  NoisyBatch batch(int64_t step) const;

 private:
  const data::Dataset& dataset_;
  const NoiseSchedule& schedule_;
  int64_t batch_;
  uint64_t seed_;
  Target target_;
  ImageBatches images_;
};

// min(snr, 5) / snr per image, snr = alpha_bar / (1 - alpha_bar): the weight of the squared error
// of eps that stops levels of little noise from outweighing the others (min-SNR-5; Hang et al.
// 2023, section 3.4). [N] f32.
Tensor min_snr_weights(const NoiseSchedule& schedule, std::span<const int> timesteps,
                       Target target);

// `levels` >= 2 of them, from 0 to T-1.
std::vector<int> evenly_spaced_timesteps(const NoiseSchedule& schedule, int levels);

// x_t at one timestep for all images, with noise that depends on (seed, index) alone.
Tensor diffuse(const Tensor& x0, const std::vector<int64_t>& index, const NoiseSchedule& schedule,
               int timestep, uint64_t seed);

}  // namespace diffscm
