#include "training/noisy_batches.h"

#include <algorithm>
#include <cmath>

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
  const Tensor a = Tensor::from(signal, {n}, x0.target()),
               b = Tensor::from(sigma, {n}, x0.target());
  Tensor x_t(x0.shape(), x0.target());
  operators(x0.target())
      .add_noise(
          {n, x0.numel() / n, a.data(), b.data(), x0.data(), noise.data(), x_t.mutable_data()});
  return x_t;
}

}  // namespace

NoisyBatches::NoisyBatches(const data::Dataset& dataset, const NoiseSchedule& schedule,
                           int64_t batch, uint64_t seed, Target target)
    : dataset_(dataset),
      schedule_(schedule),
      batch_(batch),
      seed_(seed),
      target_(target),
      order_(dataset.size(), seed) {
  require(batch >= 1, "batch {} must be at least 1", batch);
  require(dataset.size() >= 1, "data set {} is empty", dataset.name);
}

NoisyBatch NoisyBatches::batch(int64_t step) const {
  NoisyBatch b;
  const kernels::RandomKey key{seed_, kernels::Purpose::timestep, static_cast<uint32_t>(step)};
  const std::vector<int64_t> stratum = permutation(batch_, key, 0);
  std::vector<int64_t> stream(batch_);
  std::vector<float> t(batch_);
  std::vector<double> alpha_bar(batch_);
  for (int64_t i = 0; i < batch_; ++i) {
    stream[i] = step * batch_ + i;
    b.index.push_back(order_.at(stream[i]));
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
  const Tensor x0 = dataset_.images(b.index).to(target_);
  b.t = Tensor::from(t, {batch_}, target_);
  b.noise = standard_normal(x0.shape(), {seed_, kernels::Purpose::noise, 0}, stream, target_);
  b.x_t = mix(x0, b.noise, alpha_bar);
  return b;
}

Tensor diffuse(const Tensor& x0, const std::vector<int64_t>& index, const NoiseSchedule& schedule,
               int timestep, uint64_t seed) {
  const kernels::RandomKey key{seed, kernels::Purpose::noise, static_cast<uint32_t>(timestep)};
  return mix(x0, standard_normal(x0.shape(), key, index, x0.target()),
             std::vector<double>(static_cast<size_t>(x0.dim(0)), schedule.alpha_bar(timestep)));
}

}  // namespace diffscm
