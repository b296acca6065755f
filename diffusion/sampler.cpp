#include "diffusion/sampler.h"

#include <cmath>
#include <numeric>
#include <vector>

#include "diffusion/batch.h"
#include "diffusion/replay.h"
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

Threshold parse_threshold(std::string_view name) {
  if (name == "none") return Threshold::none;
  if (name == "clip") return Threshold::clip;
  if (name == "dynamic") return Threshold::dynamic;
  fail("unknown threshold '{}': choose none, clip or dynamic", name);
}

void validate(const SamplerOptions& o) {
  require(std::isfinite(o.guidance_scale) && o.guidance_scale >= 0,
          "guidance scale {}: give a finite number >= 0", o.guidance_scale);
  require(o.eta >= 0 && o.eta <= 1, "eta {}: give 0 (deterministic) to 1 (ancestral)", o.eta);
  require(o.eta == 0 || o.kind == SamplerKind::ddim, "eta {} is for the ddim sampler, not {}",
          o.eta, name_of(o.kind));
  require(o.threshold.quantile > 0 && o.threshold.quantile <= 1,
          "threshold quantile {}: give a number in (0, 1]", o.threshold.quantile);
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
// eq. 12), `noise` the standard deviation actually added, `shift` the weight of the guidance
// gradient in the mean, when guidance does not act through eps.
struct StepNoise {
  double spread = 0, noise = 0, shift = 0;
};

StepNoise step_noise(const Chain& chain, int level, const SamplerOptions& o) {
  const double a = chain.alpha_bar(level), b = chain.alpha_bar(level - 1);
  const double beta = 1 - a / b;
  const double posterior = beta * (1 - b) / (1 - a);  // variance of x_{l-1} given x_l and x_0
  switch (o.kind) {
    case SamplerKind::ddim:
      return {o.eta * std::sqrt(posterior), o.eta * std::sqrt(posterior), 0};
    case SamplerKind::ddpm: {
      double variance = posterior;
      if (o.variance == DdpmVariance::fixed_large) {
        // At the last step beta would be a variance for noise that is never added; as
        // guided-diffusion does, the level above lends its posterior variance to the guidance
        // there.
        variance = beta;
        if (level == 1 && chain.levels() > 1) {
          const double above = chain.alpha_bar(2);
          variance = (1 - above / a) * (1 - a) / (1 - above);
        }
      }
      const double noise = level == 1 ? 0 : std::sqrt(variance);
      return {std::sqrt(posterior), noise, o.guidance_scale * variance};
    }
    case SamplerKind::sde: {
      // In y the Euler-Maruyama mean, y - (sigma_a^2 - sigma_b^2) / sigma_a eps, is the ancestral
      // one; only the noise differs: sigma_a^2 - sigma_b^2 without the posterior's factor.
      const double variance =
          b * (std::pow(chain.sigma(level), 2) - std::pow(chain.sigma(level - 1), 2));
      return {std::sqrt(posterior), level == 1 ? 0 : std::sqrt(variance), 0};
    }
    case SamplerKind::ode:
      break;
  }
  return {};
}

struct Walk {
  const EpsilonModel epsilon;
  const GuidanceGradient gradient;  // empty when it must not be asked
  const Chain& chain;
  const SamplerOptions& options;
  std::span<const int64_t> index;

  Tensor single_step(const Tensor& x, int level) const {
    const int t = chain.timestep(level);
    const double a = chain.alpha_bar(level);
    const Target target = x.target();
    const int64_t n = x.dim(0), elements = x.numel() / n;
    const StepNoise step = step_noise(chain, level, options);
    const Tensor eps = predict_noise(epsilon, x, t);

    Tensor out(x.shape(), target), guide, noise, quantile;
    kernels::DdimUpdateArgs args{.n = n,
                                 .elements = elements,
                                 .alpha_bar = a,
                                 .alpha_bar_next = chain.alpha_bar(level - 1),
                                 .sigma = step.spread,
                                 .threshold = options.threshold.kind,
                                 .x = x.data(),
                                 .eps = eps.data(),
                                 .out = out.mutable_data()};
    if (gradient) {
      guide = guidance_at(gradient, x, t);
      args.gradient = guide.data();
      // Algorithm 1 moves the mean by Sigma s g; every other sampler changes eps (algorithm 2).
      (options.kind == SamplerKind::ddpm ? args.mean_shift : args.guidance_scale) =
          options.kind == SamplerKind::ddpm ? step.shift : options.guidance_scale;
    }
    if (step.noise > 0 && step.spread > 0) {
      noise = normal(x.shape(), index, options.seed, level, target);
      if (step.noise != step.spread) noise = combine(step.noise / step.spread, noise, 0, noise);
      args.noise = noise.data();
    }
    if (options.threshold.kind == Threshold::dynamic) {
      quantile = Tensor({n}, target);
      operators(target).abs_quantile({.n = n,
                                      .elements = elements,
                                      .alpha_bar = a,
                                      .q = options.threshold.quantile,
                                      .x = x.data(),
                                      .eps = eps.data(),
                                      .quantile = quantile.mutable_data()});
      args.quantile = quantile.data();
    }
    operators(target).ddim_update(args);
    return out;
  }

  // dy/dsigma at a level: eps, with guidance added to the score it stands for.
  Tensor slope(const Tensor& x, int level) const {
    const int t = chain.timestep(level);
    Tensor eps = predict_noise(epsilon, x, t);
    if (!gradient) return eps;
    const double s = options.guidance_scale * std::sqrt(1 - chain.alpha_bar(level));
    return combine(1, eps, -s, guidance_at(gradient, x, t));
  }

  // Heun: an Euler (= DDIM) step, then again with the mean of the slopes at its two ends. Level 0
  // has no slope (no network knows it), so the last step stays Euler, over the small sigma of
  // level 1.
  Tensor heun_step(const Tensor& x, int level) const {
    const Tensor here = slope(x, level);
    const Tensor euler = transfer(chain, level, level - 1, x, here);
    if (level == 1) return euler;
    const Tensor there = slope(euler, level - 1);
    return transfer(chain, level, level - 1, x, combine(0.5, here, 0.5, there));
  }
};

// The deterministic sampler, each step one replay.
Tensor replay_ddim(const EpsilonModel& epsilon, const GuidanceGradient& gradient,
                   const Chain& chain, int levels, const Tensor& x, const SamplerOptions& options,
                   const Progress& progress) {
  std::vector<DdimWalk::Move> moves;
  for (int level = levels; level >= 1; --level) moves.push_back({level, level - 1, level});
  DdimWalk walk(epsilon, gradient, chain, moves, x,
                {.guidance_scale = options.guidance_scale, .threshold = options.threshold});
  for (int done = 1; done <= levels; ++done) {
    walk.step();
    if (!progress) continue;
    runtime(x.target()).synchronize({});  // report what is done, not what is queued
    progress(done, levels);
  }
  return walk.images();
}

}  // namespace

Tensor initial_noise(const Shape& shape, std::span<const int64_t> index, uint64_t seed,
                     Target target) {
  require(shape.size() >= 2, "initial noise of shape {}: give [N, H, W, C]", to_string(shape));
  return normal(shape, index, seed, 0, target);
}

Tensor sample(const EpsilonModel& epsilon, const GuidanceGradient& gradient, const Chain& chain,
              int levels, const Tensor& x, const SamplerOptions& options,
              std::span<const int64_t> index, const Progress& progress) {
  validate(options);
  require(static_cast<bool>(epsilon), "sampling needs a noise model");
  require_batch(x, "the image to start from");
  require(index.empty() || static_cast<int64_t>(index.size()) == x.dim(0),
          "{} sample indices for {} images", index.size(), x.dim(0));
  levels = chain.checked_levels(levels);

  const GuidanceGradient guide = options.guidance_scale > 0 ? gradient : GuidanceGradient();
  const Target target = x.target();
  if (options.kind == SamplerKind::ddim && options.eta == 0 && records_steps(target) &&
      epsilon.is_recordable() && (!guide || guide.is_recordable()))
    return replay_ddim(epsilon, guide, chain, levels, x, options, progress);
  const Walk walk{replayed(epsilon, target, x.dim(0)), replayed(guide, target, x.dim(0)), chain,
                  options, index};
  Tensor current = x;
  for (int level = levels; level >= 1; --level) {
    current = options.kind == SamplerKind::ode ? walk.heun_step(current, level)
                                               : walk.single_step(current, level);
    if (progress) progress(levels - level + 1, levels);
  }
  return current;
}

}  // namespace diffscm
