// Elementary functions in f32 that gcc can vectorise: libm's expf and friends are calls, and a call
// in a loop keeps the loop scalar. No tables and no branches, only polynomials and bit tricks.
// Polynomials: Cephes (Moshier), single precision; relative errors about 1e-7.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/cpu/clones.h"

namespace diffscm::kernels::cpu {

// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
inline constexpr float kRound = 12582912.0f;

// e^x with a relative error of 1e-7. exp(-inf) = 0, exp(inf) = inf, NaN stays NaN; results below
// 2^-126 become 0.
DIFFSCM_INLINE float fast_exp(float x) {
  x = x > 89.0f ? 89.0f : x;  // written so that a NaN passes through
  x = x < -88.0f ? -88.0f : x;
  constexpr float kBias = kRound + 127.0f;  // the low bits are then the exponent of 2^n
  const float t = x * 1.44269504f + kBias;
  const float n = t - kBias;
  // x = n ln 2 + r, ln 2 in two pieces so that n * (first piece) is exact.
  float r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // n = 128 gives infinity and n = -127 gives 0.
  return p * std::bit_cast<float>(std::bit_cast<uint32_t>(t) << 23);
}

DIFFSCM_INLINE float sigmoid(float x) {
  return 1.0f / (1.0f + fast_exp(-x));
}

// y[i] += sum_j a[j] x[j][i]: four rows at once, so that y is loaded and stored once for them.
DIFFSCM_INLINE void add_four(int64_t n, const float* a, const float* x0, const float* x1,
                             const float* x2, const float* x3, float* y) {
  const float a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i)
    y[i] = (y[i] + a0 * x0[i]) + a1 * x1[i] + (a2 * x2[i] + a3 * x3[i]);
}

}  // namespace diffscm::kernels::cpu
