// The step: from one level of the chain to another, in either direction. Samplers, abduction and
// recorded walks all take this one, so that abduction inverts what prediction does.
#pragma once

#include <optional>
#include <string_view>

#include "diffusion/noise_schedule.h"
#include "engine/tensor.h"
#include "kernels/ddim_update.h"

namespace diffscm {

// What happens to each predicted clean image before it is used. clip: to [-1, 1]. dynamic: to its
// own `quantile` of |x0|, then rescaled (Saharia et al. 2022). A guidance gradient acts afterwards
// and is not clipped.
struct ThresholdOptions {
  kernels::Threshold kind = kernels::Threshold::none;
  double quantile = 0.99;  // in (0, 1]
};
// Throws Error naming the choices none, clip, dynamic.
kernels::Threshold parse_threshold(std::string_view name);
void validate(const ThresholdOptions& options);

// What the networks say about images x [N, ..] at one level; every tensor is shaped like x.
struct Prediction {
  Tensor eps;
  // Or empty: eps is then weighted against this one, base + weight (eps - base): classifier-free
  // guidance (Ho & Salimans 2022, eq. 6, with weight 0 for base alone and 1 for eps alone).
  Tensor base{};
  double weight = 1;
  // Or empty: grad_x log p of what is wanted, and how strongly it acts.
  Tensor gradient{};
  double scale = 0;
  // Or {scale, weight} as a tensor [2] f64 in the target's memory, which a recorded step reads
  // instead.
  Tensor scales{};

  // The eps that an unclipped step moves along at noise level alpha_bar: with both kinds of
  // guidance in it.
  Tensor direction(double alpha_bar) const;
};

struct Step {
  double from, to;  // alpha_bar of the level that x is at, 0 < from <= 1, and of the destination
  // Or {from, to} as a tensor [2] f64 in the target's memory, which a recorded step reads instead.
  Tensor levels{};
  ThresholdOptions threshold{};  // not at alpha_bar 1: an image is no prediction
  // Noise z of standard deviation sigma (Song et al. 2021, eq. 12); sigma = 0: none.
  double sigma = 0;
  Tensor noise{};
  // Given: the gradient moves the mean by variance * scale * gradient (Dhariwal & Nichol 2021,
  // algorithm 1) instead of acting through eps (algorithm 2).
  std::optional<double> guided_variance{};
};

// One pass of kernels/ddim_update.h: DDIM (Song et al. 2021, eq. 12 and 16) from x to `out`, which
// may be x itself.
void take(const Step& step, const Prediction& prediction, const Tensor& x, Tensor& out);

// x moved along eps from one level of the chain to another: the plain step, deterministic and
// without clipping, also from level 0.
//   sqrt(b / a) x + (sqrt(1 - b) - sqrt(b (1 - a) / a)) eps,  a, b = alpha_bar of `from` and `to`.
Tensor transfer(const Chain& chain, int from, int to, const Tensor& x, const Tensor& eps);

}  // namespace diffscm
