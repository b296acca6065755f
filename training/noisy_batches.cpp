#include "training/noisy_batches.h"

#include <algorithm>
#include <array>
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

// x [N,H,W,C] on the cpu, image i moved by (dy, dx) pixels.
Tensor moved(const Tensor& x, std::span<const std::array<int64_t, 2>> by) {
  const int64_t height = x.dim(1), width = x.dim(2), channels = x.dim(3);
  const float* from = x.data<float>();
  std::vector<float> to(static_cast<size_t>(x.numel()));
  for (int64_t n = 0; n < x.dim(0); ++n)
    for (int64_t i = 0; i < height; ++i)
      for (int64_t j = 0; j < width; ++j) {
        const int64_t si = std::clamp<int64_t>(i - by[n][0], 0, height - 1);
        const int64_t sj = std::clamp<int64_t>(j - by[n][1], 0, width - 1);
        std::copy_n(from + ((n * height + si) * width + sj) * channels, channels,
                    to.begin() + ((n * height + i) * width + j) * channels);
      }
  return Tensor::from(to, x.shape());
}

}  // namespace

NoisyBatches::NoisyBatches(const data::Dataset& dataset, const NoiseSchedule& schedule,
                           int64_t batch, uint64_t seed, Target target, int64_t shift)
    : dataset_(dataset),
      schedule_(schedule),
      batch_(batch),
      seed_(seed),
      target_(target),
      shift_(shift),
      order_(dataset.size(), seed) {
  require(batch >= 1, "batch {} must be at least 1", batch);
  require(shift >= 0, "shift {} must not be negative", shift);
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
  Tensor x0 = dataset_.images(b.index);
  if (shift_ > 0) {
    std::vector<std::array<int64_t, 2>> by(batch_);
    for (int64_t i = 0; i < batch_; ++i) {
      const kernels::Philox drawn = kernels::philox(key, 2, static_cast<uint32_t>(i));
      for (size_t axis = 0; axis < 2; ++axis)
        by[i][axis] =
            static_cast<int64_t>((drawn.word[axis] * static_cast<uint64_t>(2 * shift_ + 1)) >> 32) -
            shift_;
    }
    x0 = moved(x0, by);
  }
  x0 = x0.to(target_);
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
