#include "diffusion/sampler.h"

#include <cmath>
#include <numeric>
#include <optional>
#include <vector>

#include "diffusion/batch.h"
#include "diffusion/walk.h"
#include "engine/random.h"

namespace diffscm {

using kernels::Threshold;

const char* name_of(SamplerKind kind) {
  switch (kind) {
    case SamplerKind::ddpm:
      return "ddpm";
    case SamplerKind::ddim:
      return "ddim";
    case SamplerKind::ode:
      return "ode";
    case SamplerKind::sde:
      return "sde";
  }
  return "?";
}

SamplerKind parse_sampler_kind(std::string_view name) {
  for (const SamplerKind kind :
       {SamplerKind::ddpm, SamplerKind::ddim, SamplerKind::ode, SamplerKind::sde})
    if (name == name_of(kind)) return kind;
  fail("unknown sampler '{}': choose ddim, ddpm, ode or sde", name);
}

DdpmVariance parse_ddpm_variance(std::string_view name) {
  if (name == "small") return DdpmVariance::fixed_small;
  if (name == "large") return DdpmVariance::fixed_large;
  if (name == "learnt") return DdpmVariance::learnt;
  fail("unknown variance '{}': choose small, large or learnt", name);
}

void validate(const SamplerOptions& o) {
  require(o.eta >= 0 && o.eta <= 1, "eta {}: give 0 (deterministic) to 1 (ancestral)", o.eta);
  require(o.eta == 0 || o.kind == SamplerKind::ddim, "eta {} is for the ddim sampler, not {}",
          o.eta, name_of(o.kind));
  require(o.variance == DdpmVariance::fixed_small || o.kind == SamplerKind::ddpm,
          "the {} variance is for the ddpm sampler, not {}",
          o.variance == DdpmVariance::learnt ? "learnt" : "large", name_of(o.kind));
  require(o.variance != DdpmVariance::learnt || o.learnt,
          "the network has not learnt the variance: choose small or large");
  validate(o.threshold);
  require(o.threshold.kind == Threshold::none || o.kind == SamplerKind::ddpm ||
              o.kind == SamplerKind::ddim,
          "the {} sampler integrates the model as it is: use threshold none, or ddim",
          name_of(o.kind));
}

namespace {

// Noise for images `index` at one step; step 0 is the starting image, levels are 1 and up.
Tensor normal(const Shape& shape, std::span<const int64_t> index, uint64_t seed, int step,
              Target target) {
  return standard_normal(
      shape,
      {.seed = seed, .purpose = kernels::Purpose::sampler, .step = static_cast<uint32_t>(step)},
      index, target);
}

// What one step from `level` to `level - 1` adds: `spread` is the sigma that the mean assumes (DDIM
// eq. 12), `noise` the standard deviation actually added, `guided_variance` Step's, where guidance
// does not act through eps.
struct StepNoise {
  double spread = 0, noise = 0;
  std::optional<double> guided_variance{};
};

StepNoise step_noise(const Chain& chain, int level, const SamplerOptions& o) {
  const double a = chain.alpha_bar(level), b = chain.alpha_bar(level - 1);
  const double beta = 1 - a / b, posterior = chain.posterior_variance(level);
  switch (o.kind) {
    case SamplerKind::ddim:
      return {o.eta * std::sqrt(posterior), o.eta * std::sqrt(posterior)};
    case SamplerKind::ddpm: {
      double variance = posterior;
      if (o.variance == DdpmVariance::fixed_large) {
        // At the last step beta would be a variance for noise that is never added; as
        // guided-diffusion does, the level above lends its posterior variance to the guidance
        // there.
        variance = beta;
        if (level == 1 && chain.levels() > 1) variance = chain.posterior_variance(2);
      }
      const double noise = level == 1 ? 0 : std::sqrt(variance);
      return {std::sqrt(posterior), noise, variance};
    }
    case SamplerKind::sde: {
      // In y the Euler-Maruyama mean, y - (sigma_a^2 - sigma_b^2) / sigma_a eps, is the ancestral
      // one; only the noise differs: sigma_a^2 - sigma_b^2 without the posterior's factor.
      const double variance =
          b * (std::pow(chain.sigma(level), 2) - std::pow(chain.sigma(level - 1), 2));
      return {std::sqrt(posterior), level == 1 ? 0 : std::sqrt(variance)};
    }
    case SamplerKind::ode:
      break;
  }
  return {};
}

// x times what each element of it is worth, y = factor(e) x[e], on the host.
template <class F>
Tensor times_each(const Tensor& x, const F& factor) {
  std::vector<float> values = x.to_vector();
  for (size_t e = 0; e < values.size(); ++e) values[e] *= static_cast<float>(factor(e));
  return Tensor::from(values, x.shape(), x.target());
}

// Ancestral, with the variance that the network has learnt, in the noise and in guidance. The last
// step adds no noise; its posterior variance, which is 0, is the level above's, as in
// guided-diffusion.
void use_learnt_variance(const Chain& chain, int level, const Tensor& learnt, Step& step,
                         Prediction& prediction) {
  const double beta = 1 - step.from / step.to;
  const double least = chain.posterior_variance(std::min(std::max(level, 2), chain.levels()));
  const std::vector<float> v = learnt.slice(0, prediction.eps.dim(0)).to_vector();
  const auto variance = [&](size_t e) {
    const double share = (double{v[e]} + 1) / 2;
    return least > 0 ? std::exp(share * std::log(beta) + (1 - share) * std::log(least)) : beta;
  };
  if (step.noise)
    step.noise =
        times_each(step.noise, [&](size_t e) { return std::sqrt(variance(e)) / step.sigma; });
  if (prediction.gradient) prediction.gradient = times_each(prediction.gradient, variance);
  step.guided_variance = 1;
}

Tensor noisy_step(const Denoiser& denoiser, const Chain& chain, int level, const Tensor& x,
                  const SamplerOptions& options, std::span<const int64_t> index) {
  const StepNoise noise = step_noise(chain, level, options);
  Step step{.from = chain.alpha_bar(level),
            .to = chain.alpha_bar(level - 1),
            .threshold = options.threshold,
            .sigma = noise.spread,
            .guided_variance = noise.guided_variance};
  if (noise.noise > 0 && noise.spread > 0) {
    step.noise = normal(x.shape(), index, options.seed, level, x.target());
    if (noise.noise != noise.spread)
      step.noise = combine(noise.noise / noise.spread, step.noise, 0, step.noise);
  }
  Prediction prediction = denoiser(x, chain.timestep(level));
  if (options.variance == DdpmVariance::learnt)
    use_learnt_variance(chain, level, options.learnt(), step, prediction);
  Tensor out(x.shape(), x.target());
  take(step, prediction, x, out);
  return out;
}

// Heun: an Euler (= DDIM) step, then again with the mean of the slopes at its two ends. Level 0
// has no slope (no network knows it), so the last step stays Euler, over the small sigma of
// level 1.
Tensor heun_step(const Denoiser& denoiser, const Chain& chain, int level, const Tensor& x) {
  // dy/dsigma at a level: eps, with guidance added to the score it stands for.
  const auto slope = [&](const Tensor& at, int l) {
    return denoiser(at, chain.timestep(l)).direction(chain.alpha_bar(l));
  };
  const Tensor here = slope(x, level);
  const Tensor euler = transfer(chain, level, level - 1, x, here);
  if (level == 1) return euler;
  const Tensor there = slope(euler, level - 1);
  return transfer(chain, level, level - 1, x, combine(0.5, here, 0.5, there));
}

}  // namespace

Tensor initial_noise(const Shape& shape, std::span<const int64_t> index, uint64_t seed,
                     Target target) {
  require(shape.size() >= 2, "initial noise of shape {}: give [N, H, W, C]", to_string(shape));
  return normal(shape, index, seed, 0, target);
}

Tensor sample(const EpsilonModel& epsilon, const Guidance& guidance, const Chain& chain, int levels,
              const Tensor& x, const SamplerOptions& options, std::span<const int64_t> index,
              const Progress& progress, const Observer& observer) {
  validate(options);
  require_batch(x, "the image to start from");
  require(index.empty() || static_cast<int64_t>(index.size()) == x.dim(0),
          "{} sample indices for {} images", index.size(), x.dim(0));
  levels = chain.checked_levels(levels);
  const Denoiser denoiser(epsilon, guidance);

  if (options.kind == SamplerKind::ddim && options.eta == 0) {
    std::vector<DdimWalk::Move> moves;
    for (int level = levels; level >= 1; --level) moves.push_back({level, level - 1, level});
    DdimWalk walk(denoiser, chain, moves, x, options.threshold);
    for (int level = levels - 1; level >= 0; --level) {
      walk.step();
      report(levels - level, levels, level, walk.images(), progress, observer);
    }
    return walk.images().clone();
  }
  const Denoiser replays = denoiser.replayed(x.target(), x.dim(0));
  Tensor current = x;
  for (int level = levels - 1; level >= 0; --level) {
    current = options.kind == SamplerKind::ode
                  ? heun_step(replays, chain, level + 1, current)
                  : noisy_step(replays, chain, level + 1, current, options, index);
    report(levels - level, levels, level, current, progress, observer);
  }
  return current;
}

}  // namespace diffscm
