#include "training/noisy_batches.h"

#include <algorithm>
#include <cmath>

#include "diffusion/batch.h"
#include "engine/random.h"

namespace diffscm {
namespace {

Tensor mix(const Tensor& x0, const Tensor& noise, const std::vector<double>& alpha_bar) {
  const int64_t n = x0.dim(0);
  std::vector<float> signal(n), sigma(n);
  for (int64_t i = 0; i < n; ++i) {
    signal[i] = static_cast<float>(std::sqrt(alpha_bar[i]));
    sigma[i] = static_cast<float>(std::sqrt(1 - alpha_bar[i]));
  }
  return combine(signal, x0, sigma, noise);
}

}  // namespace

NoisyBatches::NoisyBatches(const data::Dataset& dataset, const NoiseSchedule& schedule,
                           int64_t batch, uint64_t seed, Target target,
                           const Augmentation& augmentation)
    : dataset_(dataset),
      schedule_(schedule),
      batch_(batch),
      seed_(seed),
      target_(target),
      images_(dataset, {}, batch, seed, augmentation) {}

NoisyBatch NoisyBatches::batch(int64_t step) const {
  NoisyBatch b;
  b.index = images_.index(step);
  const kernels::RandomKey key{seed_, kernels::Purpose::timestep, static_cast<uint32_t>(step)};
  const std::vector<int64_t> stratum = permutation(batch_, key, 0);
  std::vector<int64_t> stream(batch_);
  std::vector<float> t(batch_);
  std::vector<double> alpha_bar(batch_);
  for (int64_t i = 0; i < batch_; ++i) {
    stream[i] = step * batch_ + i;
    const uint32_t word = kernels::philox(key, 1, static_cast<uint32_t>(i)).word[0];
    const double u =
        (static_cast<double>(stratum[i]) + word * 0x1p-32) / static_cast<double>(batch_);
    b.timesteps.push_back(
        std::min(static_cast<int>(u * schedule_.timesteps()), schedule_.timesteps() - 1));
    t[i] = static_cast<float>(b.timesteps.back());
    alpha_bar[i] = schedule_.alpha_bar(b.timesteps.back());
  }
  if (!dataset_.labels.empty()) {
    b.labels = dataset_.labels_of(b.index);
    b.label = Tensor::from(b.labels, {batch_}, target_);
  }
  const Tensor x0 = images_.images(step).to(target_);
  b.t = Tensor::from(t, {batch_}, target_);
  b.noise = standard_normal(x0.shape(), {seed_, kernels::Purpose::noise, 0}, stream, target_);
  b.x_t = mix(x0, b.noise, alpha_bar);
  return b;
}

Tensor min_snr_weights(const NoiseSchedule& schedule, std::span<const int> timesteps,
                       Target target) {
  constexpr double kGamma = 5;
  std::vector<float> weights;
  for (const int t : timesteps) {
    const double a = schedule.alpha_bar(t), snr = a / (1 - a);
    weights.push_back(static_cast<float>(std::min(snr, kGamma) / snr));
  }
  return Tensor::from(weights, {static_cast<int64_t>(weights.size())}, target);
}

std::vector<int> evenly_spaced_timesteps(const NoiseSchedule& schedule, int levels) {
  require(levels >= 2, "{} noise levels: give at least 2", levels);
  std::vector<int> timesteps;
  for (int64_t level = 0; level < levels; ++level)
    timesteps.push_back(static_cast<int>(level * (schedule.timesteps() - 1) / (levels - 1)));
  return timesteps;
}

Tensor diffuse(const Tensor& x0, const std::vector<int64_t>& index, const NoiseSchedule& schedule,
               int timestep, uint64_t seed) {
  const kernels::RandomKey key{seed, kernels::Purpose::noise, static_cast<uint32_t>(timestep)};
  return mix(x0, standard_normal(x0.shape(), key, index, x0.target()),
             std::vector<double>(static_cast<size_t>(x0.dim(0)), schedule.alpha_bar(timestep)));
}

}  // namespace diffscm
