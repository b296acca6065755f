#include "diffusion/likelihood.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "diffusion/batch.h"
#include "diffusion/step.h"
#include "kernels/random.h"

namespace diffscm {
namespace {

// One uniform number in (0, 1] per element.
template <class F>
Tensor per_element(const Shape& shape, const kernels::RandomKey& key,
                   std::span<const int64_t> index, F&& value_of) {
  require(!shape.empty() && std::ssize(index) == shape[0], "{} image indices for a batch of {}",
          index.size(), to_string(shape));
  const auto n = static_cast<size_t>(numel(shape)), elements = index.empty() ? 0 : n / index.size();
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) {
    const size_t e = i % elements;
    const auto block = kernels::philox(key, static_cast<uint64_t>(index[i / elements]),
                                       static_cast<uint32_t>(e / 4));
    values[i] = value_of(i, kernels::uniform01(block.word[e % 4]));
  }
  return Tensor::from(values, shape);
}

// Of the noise per unit of signal.
double log_sigma(const NoiseSchedule& schedule, int t) {
  const double a = schedule.alpha_bar(t);
  return std::log((1 - a) / a) / 2;
}

kernels::RandomKey key(uint64_t seed, int draw, int which) {
  return {seed, kernels::Purpose::noise, static_cast<uint32_t>(2 * draw + which)};
}

}  // namespace

std::vector<int> likelihood_timesteps(const NoiseSchedule& schedule, int points) {
  const int last = schedule.timesteps() - 1;
  require(points >= 2, "a likelihood in {} steps: give 2 or more", points);
  const double low = log_sigma(schedule, 0), high = log_sigma(schedule, last);
  std::vector<int> timesteps;
  int t = 0;
  for (int i = 0; i < points; ++i) {
    const double wanted = low + (high - low) * i / (points - 1);
    while (t < last && log_sigma(schedule, t) < wanted) ++t;
    if (timesteps.empty() || t > timesteps.back()) timesteps.push_back(t);
  }
  if (timesteps.back() != last) timesteps.push_back(last);
  return timesteps;
}

std::vector<double> log_likelihood(const DifferentiableEpsilon& epsilon,
                                   const NoiseSchedule& schedule, std::span<const int> timesteps,
                                   const Tensor& x, const Tensor& probe, const Progress& progress) {
  require_batch(x, "the image");
  require(probe.shape() == x.shape() && probe.target() == x.target(),
          "a probe of {} for images of {}", to_string(probe.shape()), to_string(x.shape()));
  require(timesteps.size() >= 2 && std::is_sorted(timesteps.begin(), timesteps.end()),
          "a likelihood needs timesteps from first to last");
  const int64_t n = x.dim(0);
  const auto ask = [&](const Tensor& at, int t) {
    return epsilon(at, Tensor::full({n}, static_cast<float>(t), x.target()), probe);
  };

  Tensor current = combine(std::sqrt(schedule.alpha_bar(timesteps[0])), x, 0, x);  // x_t
  std::vector<double> log_p(static_cast<size_t>(n), 0.0), before;
  for (size_t k = 0; k < timesteps.size(); ++k) {
    const int t = timesteps[k];
    const EpsilonProduct here = ask(current, t);
    // sigma v^T (d eps / dy) v: what the divergence is per unit of log sigma.
    const TensorPair product{probe, here.product};
    std::vector<double> divergence = sample_dots(std::span(&product, 1))[0];
    for (double& d : divergence) d *= std::sqrt(1 - schedule.alpha_bar(t));
    if (k > 0) {
      const double step = log_sigma(schedule, t) - log_sigma(schedule, timesteps[k - 1]);
      for (size_t i = 0; i < log_p.size(); ++i) log_p[i] += step / 2 * (before[i] + divergence[i]);
    }
    before = std::move(divergence);
    if (k + 1 < timesteps.size()) {
      const int next = timesteps[k + 1];
      const Step step{.from = schedule.alpha_bar(t), .to = schedule.alpha_bar(next)};
      Tensor euler(x.shape(), x.target()), heun(x.shape(), x.target());
      take(step, {.eps = here.eps}, current, euler);
      const Tensor slope = combine(0.5, here.eps, 0.5, ask(euler, next).eps);
      take(step, {.eps = slope}, current, heun);
      current = heun;
    }
    if (progress) progress(static_cast<int>(k) + 1, static_cast<int>(timesteps.size()));
  }
  const TensorPair square{current, current};
  const std::vector<double> squares = sample_dots(std::span(&square, 1))[0];
  // x_t ~ N(0, I), as a density of y.
  const double each =
      std::log(schedule.alpha_bar(timesteps.back())) - std::log(2 * std::numbers::pi);
  for (size_t i = 0; i < log_p.size(); ++i)
    log_p[i] += -squares[i] / 2 + static_cast<double>(x.numel() / n) / 2 * each;
  return log_p;
}

Tensor rademacher_probe(const Shape& shape, uint64_t seed, int draw,
                        std::span<const int64_t> index) {
  return per_element(shape, key(seed, draw, 0), index,
                     [](size_t, float u) { return u > 0.5f ? 1.0f : -1.0f; });
}

Tensor dequantise(const Tensor& images, uint64_t seed, int draw, std::span<const int64_t> index) {
  const std::vector<float> in = images.to_vector();
  return per_element(images.shape(), key(seed, draw, 1), index, [&](size_t i, float u) {
    const float level = std::clamp(std::round((in[i] + 1) * 127.5f), 0.0f, 255.0f);
    return (level + u) / 128 - 1;
  });
}

double bits_per_dimension(double log_p, int64_t numbers) {
  return 7 - log_p / (static_cast<double>(numbers) * std::numbers::ln2);
}

}  // namespace diffscm
