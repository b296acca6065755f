// Two standard normal numbers from two random words: one definition for every target, so that the
// same key gives the same image everywhere.
//
// Bits agree only if rounding does. Whether a * b + c rounds once (fused) or twice is up to each
// compiler unless the source says it, so every multiply-add below is written out, and nothing else
// is left that could be fused. Logarithm, cosine and sine are ours: libm's and CUDA's differ, and
// libm's are calls that keep a loop scalar. Polynomials: Cephes (Moshier), single precision;
// relative errors about 1e-7.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/everywhere.h"
#include "kernels/random.h"

namespace diffscm::kernels {

// a * b + c, rounded once. `fused` = false is for processors without the instruction, where
// std::fma is a slow call: rounded twice, so the last bits of a normal number may differ.
template <bool fused>
DIFFSCM_EVERYWHERE float multiply_add(float a, float b, float c) {
  if constexpr (fused)
    return fmaf(a, b, c);
  else
    return a * b + c;
}

// Natural logarithm of a normal positive number; log(1) is exactly 0.
template <bool fused>
DIFFSCM_EVERYWHERE float fast_log(float x) {
  // x = m 2^e with m in [sqrt(1/2), sqrt(2)).
  const uint32_t bits = std::bit_cast<uint32_t>(x) - 0x3F3504F3u;
  const float e = static_cast<float>(static_cast<int32_t>(bits) >> 23);
  const float m = std::bit_cast<float>((bits & 0x007FFFFFu) + 0x3F3504F3u);
  const float f = m - 1.0f;
  const float z = f * f;
  float p = 7.0376836292e-2f;
  p = multiply_add<fused>(p, f, -1.1514610310e-1f);
  p = multiply_add<fused>(p, f, 1.1676998740e-1f);
  p = multiply_add<fused>(p, f, -1.2420140846e-1f);
  p = multiply_add<fused>(p, f, 1.4249322787e-1f);
  p = multiply_add<fused>(p, f, -1.6668057665e-1f);
  p = multiply_add<fused>(p, f, 2.0000714765e-1f);
  p = multiply_add<fused>(p, f, -2.4999993993e-1f);
  p = multiply_add<fused>(p, f, 3.3333331174e-1f);
  // ln 2 in two pieces, so that e * (larger piece) is exact.
  float y = multiply_add<fused>(e, -2.12194440e-4f, p * f * z);
  y = multiply_add<fused>(-0.5f, z, y);
  return multiply_add<fused>(e, 0.693359375f, f + y);
}

// cos and sin of 2 pi u for u in [0, 1]. The quarter turn is split off exactly, so the result is
// accurate near its zeros as well.
template <bool fused>
DIFFSCM_EVERYWHERE void cos_sin_turn(float u, float& cosine, float& sine) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
  const float t = multiply_add<fused>(u, 4.0f, kRound);
  const uint32_t quarter = std::bit_cast<uint32_t>(t);
  const float r = multiply_add<fused>(u, 4.0f, kRound - t) * 1.57079632679f;
  const float z = r * r;
  float s = multiply_add<fused>(-1.9515295891e-4f, z, 8.3321608736e-3f);
  s = multiply_add<fused>(s, z, -1.6666654611e-1f);
  s = multiply_add<fused>(s * z, r, r);
  float c = multiply_add<fused>(2.443315711809948e-5f, z, -1.388731625493765e-3f);
  c = multiply_add<fused>(c, z, 4.166664568298827e-2f);
  c = multiply_add<fused>(c * z, z, -0.5f * z) + 1.0f;
  const bool odd = quarter & 1u;
  const uint32_t cos_sign = ((quarter + 1u) & 2u) << 30;
  const uint32_t sin_sign = (quarter & 2u) << 30;
  cosine = std::bit_cast<float>(std::bit_cast<uint32_t>(odd ? s : c) ^ cos_sign);
  sine = std::bit_cast<float>(std::bit_cast<uint32_t>(odd ? c : s) ^ sin_sign);
}

// Box and Muller 1958: radius sqrt(-2 ln u0) at the angle 2 pi u1.
struct NormalPair {
  float first, second;
};
template <bool fused = true>
DIFFSCM_EVERYWHERE NormalPair box_muller(uint32_t word0, uint32_t word1) {
  const float radius = std::sqrt(-2.0f * fast_log<fused>(uniform01(word0)));
  float cosine, sine;
  cos_sin_turn<fused>(uniform01(word1), cosine, sine);
  return {radius * cosine, radius * sine};
}

}  // namespace diffscm::kernels
