#include "diffusion/abduction.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "diffusion/batch.h"
#include "diffusion/fixed_point.h"
#include "diffusion/replay.h"

namespace diffscm {

using kernels::Threshold;

const char* name_of(AbductionMethod method) {
  return method == AbductionMethod::ddim ? "ddim" : "fixed-point";
}

AbductionMethod parse_abduction_method(std::string_view name) {
  for (const AbductionMethod method : {AbductionMethod::ddim, AbductionMethod::fixed_point})
    if (name == name_of(method)) return method;
  fail("unknown abduction '{}': choose ddim or fixed-point", name);
}

void validate(const AbductionOptions& o) {
  require(o.levels >= 0, "abduction over {} levels: give 1 or more, or 0 for the whole chain",
          o.levels);
  require(std::isfinite(o.tolerance) && o.tolerance > 0,
          "abduction tolerance {}: give grey levels > 0 (0.002 is usual)", o.tolerance);
  require(o.max_iterations >= 1 && o.max_iterations <= 10'000,
          "{} abduction iterations: give 1 to 10000", o.max_iterations);
  require(o.memory >= 0 && o.memory <= kMaxAndersonMemory, "Anderson memory {}: give 0 to {}",
          o.memory, kMaxAndersonMemory);
  validate(SamplerOptions{.threshold = o.threshold});
  require(
      o.threshold.kind == Threshold::none || o.method == AbductionMethod::ddim,
      "fixed-point abduction inverts the unclipped step: use threshold none, or ddim abduction");
}

namespace {

// One step up with eps at the level that is left, thresholded if asked. Level 0 is an image, which
// every threshold leaves as it is.
Tensor ddim_step_up(const Chain& chain, int from, const Tensor& x, const Tensor& eps,
                    const ThresholdOptions& threshold) {
  if (from == 0 || threshold.kind == Threshold::none)
    return transfer(chain, from, from + 1, x, eps);
  const int64_t n = x.dim(0), elements = x.numel() / n;
  const auto& run = operators(x.target());
  Tensor out(x.shape(), x.target()), quantile({n}, x.target());
  if (threshold.kind == Threshold::dynamic)
    run.abs_quantile({.n = n,
                      .elements = elements,
                      .alpha_bar = chain.alpha_bar(from),
                      .q = threshold.quantile,
                      .x = x.data(),
                      .eps = eps.data(),
                      .quantile = quantile.mutable_data()});
  run.ddim_update({.n = n,
                   .elements = elements,
                   .alpha_bar = chain.alpha_bar(from),
                   .alpha_bar_next = chain.alpha_bar(from + 1),
                   .threshold = threshold.kind,
                   .x = x.data(),
                   .eps = eps.data(),
                   .quantile = threshold.kind == Threshold::dynamic ? quantile.data() : nullptr,
                   .out = out.mutable_data()});
  return out;
}

Abduction abduct_ddim(const EpsilonModel& epsilon, const Chain& chain, const Tensor& x, int levels,
                      const AbductionOptions& options, const Progress& progress) {
  Abduction result;
  result.latent = x;
  result.evaluations.assign(static_cast<size_t>(x.dim(0)), levels);
  std::optional<DdimWalk> walk;  // from level 1 up, where steps can be recorded
  for (int level = 1; level <= levels; ++level) {
    if (level > 1 && epsilon.is_recordable() && records_steps(x.target())) {
      if (!walk) {
        std::vector<DdimWalk::Move> moves;
        for (int l = level; l <= levels; ++l) moves.push_back({l - 1, l, l - 1});
        walk.emplace(epsilon, GuidanceGradient(), chain, moves, result.latent,
                     DdimWalk::Options{.threshold = options.threshold});
      }
      walk->step();
      result.latent = walk->images();
      if (!progress) continue;
      runtime(x.target()).synchronize({});  // report what is done, not what is queued
      progress(level, levels);
      continue;
    }
    const int known = std::max(level - 1, 1);
    const Tensor eps = predict_noise(epsilon, result.latent, chain.timestep(known));
    result.latent = ddim_step_up(chain, level - 1, result.latent, eps, options.threshold);
    if (progress) progress(level, levels);
  }
  return result;
}

Abduction abduct_fixed_point(const EpsilonModel& network, const Chain& chain, const Tensor& x,
                             int levels, const AbductionOptions& options,
                             const Progress& progress) {
  const auto n = static_cast<size_t>(x.dim(0));
  const EpsilonModel epsilon = replayed(network, x.target(), x.dim(0));
  const FixedPointOptions inner{options.tolerance, options.max_iterations, options.memory};
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
    FixedPoint step = solve_step(epsilon, chain, level, y, guess, inner);
    for (size_t i = 0; i < n; ++i) {
      result.residual[i] = std::max(result.residual[i], step.residual[i]);
      if (!step.converged[i]) result.converged[i] = 0;
      result.evaluations[i] += step.evaluations[i];
    }
    result.latent = std::move(step.x);
    before_last = std::move(last);
    last = std::move(step.eps);
    if (progress) progress(level, levels);
  }
  return result;
}

}  // namespace

Abduction abduct(const EpsilonModel& epsilon, const Chain& chain, const Tensor& x,
                 const AbductionOptions& options, const Progress& progress) {
  validate(options);
  require(static_cast<bool>(epsilon), "abduction needs a noise model");
  require_batch(x, "the image to abduct");
  const int levels = chain.checked_levels(options.levels);
  return options.method == AbductionMethod::ddim
             ? abduct_ddim(epsilon, chain, x, levels, options, progress)
             : abduct_fixed_point(epsilon, chain, x, levels, options, progress);
}

}  // namespace diffscm
