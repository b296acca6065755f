// One step along the diffusion chain in a single pass over the image: abduction, prediction, guided
// or not, deterministic or with noise.
#pragma once

#include <cstdint>

namespace diffscm::kernels {

enum class Threshold { none, clip, dynamic };

// With a = alpha_bar of the level that x is at, b = alpha_bar of the destination:
//   eps  = eps_uncond + w (eps - eps_uncond)                        if eps_uncond is given
//   x0   = (x - sqrt(1 - a) eps) / sqrt(a)
//   x0   = clip(x0, -1, 1)                                          Threshold::clip
//        = clip(x0, -q, q) / q, q = max(1, quantile[n])             Threshold::dynamic
//   eps  = (x - sqrt(a) x0) / sqrt(1 - a)                      only after clip or dynamic
//   eps  = eps - s sqrt(1 - a) g, and x0 from it again (not clipped) if gradient is given
//   out  = sqrt(b) x0 + sqrt(max(0, 1 - b - sigma^2)) eps + mean_shift g + sigma noise
// b > a moves towards the clean image (prediction), b < a away from it (abduction: DDIM inversion).
// mean_shift is Sigma*s of classifier-guided DDPM (Dhariwal & Nichol 2021, alg. 1); s sqrt(1-a) g
// is their alg. 2; dynamic thresholding: Saharia et al. 2022. DDIM: Song et al. 2021, eq. 12
// and 16. The coefficients are computed in double by the operator.
// `levels` = {alpha_bar, alpha_bar_next} in the target's memory overrides the two scalars, so that
// one recorded step serves the whole chain; then nothing checks their range. `scales` = {s, w} in
// the target's memory likewise overrides guidance_scale and condition_scale. Requires 0 < a <= 1
// (< 1 with a threshold), 0 <= b <= 1. out may alias x; every element of it is written. x0 receives
// the final x0-prediction if not null. Work: one read of each given input, one write per output.
struct DdimUpdateArgs {
  int64_t n, elements;
  double alpha_bar, alpha_bar_next;
  double sigma = 0;
  double guidance_scale = 0;   // s, for gradient
  double mean_shift = 0;       // for gradient
  double condition_scale = 1;  // w, for eps_uncond
  Threshold threshold = Threshold::none;
  const float* x;                     // [N, elements]
  const float* eps;                   // [N, elements]
  const float* eps_uncond = nullptr;  // or null
  const float* gradient = nullptr;    // or null: grad_x log p(parent = value | x)
  const float* noise = nullptr;       // or null: standard normal, needed when sigma > 0
  const float* quantile = nullptr;    // [N], needed for Threshold::dynamic
  const double* levels = nullptr;     // [2] or null
  const double* scales = nullptr;     // [2] or null
  float* out;                         // [N, elements]
  float* x0 = nullptr;                // or null
};
void check(const DdimUpdateArgs&);

// quantile[n] = exact q-quantile of |x0| of sample n, where x0 = (x - sqrt(1 - a) eps) / sqrt(a),
// by linear interpolation between order statistics at position q (elements - 1), as torch.quantile
// does.
struct AbsQuantileArgs {
  int64_t n, elements;
  double alpha_bar, q;
  const float* x;
  const float* eps;
  float* quantile;                 // [N]
  const double* levels = nullptr;  // [1] or null: alpha_bar in the target's memory, as above
};
void check(const AbsQuantileArgs&);

}  // namespace diffscm::kernels
