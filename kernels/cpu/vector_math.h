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

// Natural logarithm of a normal positive number; log(1) is exactly 0.
DIFFSCM_INLINE float fast_log(float x) {
  // x = m 2^e with m in [sqrt(1/2), sqrt(2)).
  const uint32_t bits = std::bit_cast<uint32_t>(x) - 0x3F3504F3u;
  const float e = static_cast<float>(static_cast<int32_t>(bits) >> 23);
  const float m = std::bit_cast<float>((bits & 0x007FFFFFu) + 0x3F3504F3u);
  const float f = m - 1.0f;
  const float z = f * f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  float y = p * f * z;
  y = y + e * -2.12194440e-4f;
  y = y - 0.5f * z;
  return (f + y) + e * 0.693359375f;
}

// cos and sin of 2 pi u for u in [0, 1]. The quarter turn is split off exactly, so the result is
// accurate near its zeros as well.
DIFFSCM_INLINE void cos_sin_turn(float u, float& cosine, float& sine) {
  const float t = u * 4.0f + kRound;
  const uint32_t quarter = std::bit_cast<uint32_t>(t);
  const float r = (u * 4.0f - (t - kRound)) * 1.57079632679f;
  const float z = r * r;
  const float s = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * r + r;
  const float c =
      ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z -
      0.5f * z + 1.0f;
  const bool odd = quarter & 1u;
  const uint32_t cos_sign = ((quarter + 1u) & 2u) << 30;
  const uint32_t sin_sign = (quarter & 2u) << 30;
  cosine = std::bit_cast<float>(std::bit_cast<uint32_t>(odd ? s : c) ^ cos_sign);
  sine = std::bit_cast<float>(std::bit_cast<uint32_t>(odd ? c : s) ^ sin_sign);
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
