// Group normalisation with the two things that always follow it in a diffusion U-Net, in one pass:
// the per-sample scale and shift of the time embedding (FiLM / AdaGN) and SiLU, then dropout.
#pragma once

#include <cstdint>
#include <numeric>

#include "kernels/bfloat16.h"
#include "kernels/random.h"

namespace diffscm::kernels {

// X = concat_C(x0, x1), never built (groups may straddle the seam). Per sample n and group g of C/G
// consecutive channels, over M = H*W*C/G values: mean, biased variance, rstd = 1/sqrt(var + eps).
//   z = (X - mean) * rstd * gamma[c] + beta[c]
//   z = z * (1 + scale[n,c]) + shift[n,c]     if scale_shift is given: [N, 2C], scale first
//   z = z * sigmoid(z)                        if silu
//   y = dropout(z)                            if dropout.rate > 0: see random.h
// Requires C % G == 0, HW >= 1. Every element of y, mean and rstd is written. y must not alias x.
// Numerics: T is float or bf16; computed in f32, two-pass variance (or an equivalent without
// cancellation). Work: 2 reads and 1 write of X; ~12 FLOPs per element with SiLU. Source: Wu & He
// 2018, arXiv:1803.08494, eq. 1-4; scale-shift: Dhariwal & Nichol 2021, eq. 3 (AdaGN).
template <class T>
struct BasicGroupNormArgs {
  int64_t n, hw, c0, c1, groups;
  float eps;
  bool silu;
  Dropout dropout;
  const T* x0;               // [N, HW, C0]
  const T* x1;               // [N, HW, C1] or null
  const float* gamma;        // [C]
  const float* beta;         // [C]
  const float* scale_shift;  // [N, 2C] or null
  T* y;                      // [N, HW, C]
  float* mean;               // [N, G]
  float* rstd;               // [N, G]
};
using GroupNormArgs = BasicGroupNormArgs<float>;
template <class T>
void check(const BasicGroupNormArgs<T>&);

// What group norm, scale and shift do to a sample's channel, for whoever reads x next
// (NormalisedConv2dArgs in kernels/conv2d.h) instead of a normalised copy of it:
//   z = a X + b,  a = rstd gamma (1 + scale),  b = beta (1 + scale) + shift - mean a
// with the names of above. Requires C0 and C1 in multiples of 8 and C/G <= 256. Work: 1 read of X.
struct NormCoefficientsArgs {
  int64_t n, hw, c0, c1, groups;
  float eps;
  const bf16* x0;            // [N, HW, C0]
  const bf16* x1;            // [N, HW, C1] or null
  const float* gamma;        // [C]
  const float* beta;         // [C]
  const float* scale_shift;  // [N, 2C] or null
  float* coefficients;       // [N, 2, C], a first
  float* mean = nullptr;     // [N, G] or null: for the backward
  float* rstd = nullptr;     // [N, G] or null
};
void check(const NormCoefficientsArgs&);

// Gradients of group norm given dy. The normalised value is recomputed from x, mean and rstd;
// nothing else is saved. Null outputs are skipped (guidance needs dx only). Every non-null output
// is overwritten. add0 and add1, gradients of x0 and x1 from elsewhere, are added in f32 before dx0
// and dx1 are rounded; they are not read where dx0 or dx1 is null, and must not alias it. dgamma
// and dbeta sum over samples; bit-reproducible whatever the number of threads.
template <class T>
struct BasicGroupNormBackwardArgs {
  BasicGroupNormArgs<T> forward;  // as passed to the forward (y is not read and may be null)
  const T* dy;                    // [N, HW, C]
  T* dx0;                         // [N, HW, C0]
  T* dx1;                         // [N, HW, C1] or null when c1 = 0
  float* dgamma;                  // [C] or null
  float* dbeta;                   // [C] or null
  float* dscale_shift;            // [N, 2C] or null
  const T* add0 = nullptr;        // [N, HW, C0] or null
  const T* add1 = nullptr;        // [N, HW, C1] or null
};
using GroupNormBackwardArgs = BasicGroupNormBackwardArgs<float>;
template <class T>
void check(const BasicGroupNormBackwardArgs<T>&);

// Both ways into a residual block that halves its image, in one reading of it: avg_pool
// (kernels/pool.h) of what group norm and SiLU make of X, and of X itself.
// Requires HW = h * w, C1 = 0, SiLU, no dropout, and pooling_joins(h, w, C0, groups). Numerics: the
// mean of a window is taken of f32, rounded once. Work: 1 read of X, 1/2 write.
struct PooledNormArgs {
  BasicGroupNormArgs<bf16> norm;  // y [N, h/2, w/2, C]
  int64_t h, w;
  bf16* pooled_x;  // [N, h/2, w/2, C]
};
void check(const PooledNormArgs&);

// Of both: dy and, if it is not null, add0 are gradients of the two results, [N, h/2, w/2, C]. dx0
// is what group_norm_backward gives for those of their windows' pixels.
struct PooledNormBackwardArgs {
  BasicGroupNormBackwardArgs<bf16> norm;
  int64_t h, w;
};
void check(const PooledNormBackwardArgs&);

// Where whole groups of a sample fit the fast memory of a multiprocessor: x and what flows back.
constexpr bool pooling_joins(int64_t h, int64_t w, int64_t c, int64_t groups) {
  const int64_t unit = std::lcm<int64_t>(c / groups, 8);
  return h >= 2 && w >= 2 && c % 8 == 0 && unit <= 256 && h * w * unit <= int64_t{16} << 10;
}

}  // namespace diffscm::kernels
