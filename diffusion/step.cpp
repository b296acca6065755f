#include "diffusion/step.h"

#include <cmath>

#include "diffusion/batch.h"

namespace diffscm {

using kernels::Threshold;

Threshold parse_threshold(std::string_view name) {
  if (name == "none") return Threshold::none;
  if (name == "clip") return Threshold::clip;
  if (name == "dynamic") return Threshold::dynamic;
  fail("unknown threshold '{}': choose none, clip or dynamic", name);
}

void validate(const ThresholdOptions& options) {
  require(options.quantile > 0 && options.quantile <= 1,
          "threshold quantile {}: give a number in (0, 1]", options.quantile);
}

namespace {

Tensor weighted_eps(const Prediction& p) {
  return p.base ? combine(1 - p.weight, p.base, p.weight, p.eps) : p.eps;
}

}  // namespace

Tensor Prediction::direction(double alpha_bar) const {
  const Tensor weighted = weighted_eps(*this);
  if (!gradient) return weighted;
  return combine(1, weighted, -scale * std::sqrt(1 - alpha_bar), gradient);
}

void take(const Step& step, const Prediction& prediction, const Tensor& x, Tensor& out) {
  const auto& run = operators(x.target());
  const int64_t n = x.dim(0), elements = x.numel() / n;
  const double* levels = step.levels ? step.levels.data<double>() : nullptr;
  const bool dynamic = step.threshold.kind == Threshold::dynamic;
  // The quantile is that of the one eps that is used.
  const bool fused = prediction.base && !dynamic;
  require(!prediction.scales || fused || !prediction.base,
          "a quantile of eps under guidance needs its weight on the host");
  const Tensor eps = fused ? prediction.eps : weighted_eps(prediction);
  Tensor quantile;
  if (dynamic) {
    quantile = Tensor({n}, x.target());
    run.abs_quantile({.n = n,
                      .elements = elements,
                      .alpha_bar = step.from,
                      .q = step.threshold.quantile,
                      .x = x.data(),
                      .eps = eps.data(),
                      .quantile = quantile.mutable_data(),
                      .levels = levels});
  }
  run.ddim_update({.n = n,
                   .elements = elements,
                   .alpha_bar = step.from,
                   .alpha_bar_next = step.to,
                   .sigma = step.sigma,
                   .guidance_scale = step.guided_variance ? 0 : prediction.scale,
                   .mean_shift = step.guided_variance.value_or(0) * prediction.scale,
                   .condition_scale = prediction.weight,
                   .threshold = step.threshold.kind,
                   .x = x.data(),
                   .eps = eps.data(),
                   .eps_uncond = fused ? prediction.base.data() : nullptr,
                   .gradient = prediction.gradient ? prediction.gradient.data() : nullptr,
                   .noise = step.noise ? step.noise.data() : nullptr,
                   .quantile = quantile ? quantile.data() : nullptr,
                   .levels = levels,
                   .scales = prediction.scales ? prediction.scales.data<double>() : nullptr,
                   .out = out.mutable_data()});
}

Tensor transfer(const Chain& chain, int from, int to, const Tensor& x, const Tensor& eps) {
  Tensor out(x.shape(), x.target());
  take({.from = chain.alpha_bar(from), .to = chain.alpha_bar(to)}, {.eps = eps}, x, out);
  return out;
}

}  // namespace diffscm
