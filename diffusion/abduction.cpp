#include "diffusion/abduction.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "diffusion/batch.h"
#include "diffusion/fixed_point.h"
#include "diffusion/sampler.h"
#include "diffusion/walk.h"
#include "engine/random.h"

namespace diffscm {

using kernels::Threshold;

const char* name_of(AbductionMethod method) {
  switch (method) {
    case AbductionMethod::ddim:
      return "ddim";
    case AbductionMethod::fixed_point:
      return "fixed-point";
    case AbductionMethod::ddpm:
      return "ddpm";
  }
  return "?";
}

AbductionMethod parse_abduction_method(std::string_view name) {
  for (const AbductionMethod method :
       {AbductionMethod::ddim, AbductionMethod::fixed_point, AbductionMethod::ddpm})
    if (name == name_of(method)) return method;
  fail("unknown abduction '{}': choose ddim, fixed-point or ddpm", name);
}

void validate(const AbductionOptions& o) {
  require(o.levels >= 0, "abduction over {} levels: give 1 or more, or 0 for the whole chain",
          o.levels);
  require(std::isfinite(o.tolerance) && o.tolerance > 0,
          "abduction tolerance {}: give grey levels > 0 (0.1 is usual)", o.tolerance);
  require(o.max_iterations >= 1 && o.max_iterations <= 10'000,
          "{} abduction iterations: give 1 to 10000", o.max_iterations);
  require(o.memory >= 0 && o.memory <= kMaxAndersonMemory, "Anderson memory {}: give 0 to {}",
          o.memory, kMaxAndersonMemory);
  validate(o.threshold);
  require(o.threshold.kind == Threshold::none || o.method == AbductionMethod::ddim,
          "{} abduction inverts the unclipped step: use threshold none, or ddim abduction",
          name_of(o.method));
}

namespace {

Abduction abduct_ddim(const Denoiser& denoiser, const Chain& chain, const Tensor& x, int levels,
                      const AbductionOptions& options, const Progress& progress,
                      const Observer& observer) {
  std::vector<DdimWalk::Move> moves;
  for (int level = 1; level <= levels; ++level)
    moves.push_back({level - 1, level, std::max(level - 1, 1)});
  DdimWalk walk(denoiser, chain, moves, x, options.threshold);
  for (int level = 1; level <= levels; ++level) {
    walk.step();
    report(level, levels, level, walk.images(), progress, observer);
  }
  Abduction result;
  result.latent = walk.images().clone();
  result.evaluations.assign(static_cast<size_t>(x.dim(0)), levels);
  result.level_evaluations.assign(static_cast<size_t>(levels), static_cast<int>(x.dim(0)));
  return result;
}

Abduction abduct_fixed_point(const Denoiser& networks, const Chain& chain, const Tensor& x,
                             int levels, const AbductionOptions& options, const Progress& progress,
                             const Observer& observer) {
  const auto n = static_cast<size_t>(x.dim(0));
  const Denoiser denoiser = networks.replayed(x.target(), x.dim(0));
  FixedPointOptions inner{options.tolerance, options.max_iterations, options.memory};
  Abduction result;
  result.latent = x;
  result.residual.assign(n, 0.0f);
  result.converged.assign(n, 1);
  result.evaluations.assign(n, 0);
  Tensor last, before_last;  // eps at the two levels below
  for (int level = 1; level <= levels; ++level) {
    const Tensor& y = result.latent;
    // eps varies smoothly from level to level: extrapolating it lands close to the solution for
    // free.
    Tensor guess = y;
    if (before_last)
      guess = transfer(chain, level - 1, level, y, combine(2, last, -1, before_last));
    else if (last)
      guess = transfer(chain, level - 1, level, y, last);
    FixedPoint step = solve_step(denoiser, chain, level, y, guess, inner);
    inner.unseen = std::ranges::min(step.evaluations);  // levels are much alike
    result.level_evaluations.push_back(
        std::accumulate(step.evaluations.begin(), step.evaluations.end(), 0));
    for (size_t i = 0; i < n; ++i) {
      result.residual[i] = std::max(result.residual[i], step.residual[i]);
      if (!step.converged[i]) result.converged[i] = 0;
      result.evaluations[i] += step.evaluations[i];
    }
    result.latent = std::move(step.x);
    before_last = std::move(last);
    last = std::move(step.eps);
    report(level, levels, level, result.latent, progress, observer);
  }
  return result;
}

// The ancestral step from `level` down, whose noise is yet to be given.
Step ancestral(const Chain& chain, int level) {
  return {.from = chain.alpha_bar(level),
          .to = chain.alpha_bar(level - 1),
          .sigma = std::sqrt(chain.posterior_variance(level))};
}

Abduction abduct_ddpm(const Denoiser& networks, const Chain& chain, const Tensor& x, int levels,
                      const AbductionOptions& options, const Progress& progress,
                      const Observer& observer) {
  const auto n = static_cast<size_t>(x.dim(0));
  require(options.index.empty() || options.index.size() == n, "{} image numbers for {} images",
          options.index.size(), n);
  const Denoiser denoiser = networks.replayed(x.target(), x.dim(0));
  const Tensor nothing = Tensor::zeros(x.shape(), x.target());
  Abduction result;
  result.evaluations.assign(n, levels);
  result.level_evaluations.assign(static_cast<size_t>(levels), static_cast<int>(n));
  Tensor below = x;
  for (int level = 1; level <= levels; ++level) {
    const kernels::RandomKey key{options.seed, kernels::Purpose::sampler,
                                 static_cast<uint32_t>(level)};
    Step step = ancestral(chain, level);
    const Tensor here = combine(std::sqrt(step.from), x, std::sqrt(1 - step.from),
                                standard_normal(x.shape(), key, options.index, x.target()));
    if (step.sigma > 0) step.noise = nothing;
    Tensor mean(x.shape(), x.target());
    take(step, denoiser(here, chain.timestep(level)), here, mean);
    const double per_sigma = step.sigma > 0 ? 1 / step.sigma : 1;
    result.noise.push_back(combine(per_sigma, below, -per_sigma, mean));
    below = here;
    report(level, levels, level, here, progress, observer);
  }
  result.latent = below;
  return result;
}

}  // namespace

Abduction abduct(const EpsilonModel& epsilon, const Guidance& guidance, const Chain& chain,
                 const Tensor& x, const AbductionOptions& options, const Progress& progress,
                 const Observer& observer) {
  validate(options);
  require_batch(x, "the image to abduct");
  const int levels = chain.checked_levels(options.levels);
  const auto& walk = options.method == AbductionMethod::ddim   ? abduct_ddim
                     : options.method == AbductionMethod::ddpm ? abduct_ddpm
                                                               : abduct_fixed_point;
  return walk(Denoiser(epsilon, guidance), chain, x, levels, options, progress, observer);
}

Tensor predict(const Abduction& u, const EpsilonModel& epsilon, const Guidance& guidance,
               const Chain& chain, int levels, const ThresholdOptions& threshold,
               const Progress& progress, const Observer& observer) {
  levels = chain.checked_levels(levels);
  if (u.noise.empty())
    return sample(epsilon, guidance, chain, levels, u.latent, {.threshold = threshold}, {},
                  progress, observer);
  require(static_cast<int>(u.noise.size()) == levels,
          "noise of {} levels cannot predict over {} levels", u.noise.size(), levels);
  validate(threshold);
  const Denoiser denoiser =
      Denoiser(epsilon, guidance).replayed(u.latent.target(), u.latent.dim(0));
  Tensor x = u.latent.clone();
  for (int level = levels; level >= 1; --level) {
    Step step = ancestral(chain, level);
    step.threshold = threshold;
    const Tensor& noise = u.noise[static_cast<size_t>(level - 1)];
    if (step.sigma > 0) step.noise = noise;
    take(step, denoiser(x, chain.timestep(level)), x, x);
    if (step.sigma == 0) x = combine(1, x, 1, noise);
    report(levels + 1 - level, levels, level - 1, x, progress, observer);
  }
  return x;
}

}  // namespace diffscm
