// The special function unit's instructions: a quarter of the speed of a multiplication, and one
// instruction each. The forms with .ftz take and return 0 for denormal numbers; without it the
// compiler adds three instructions to scale them.
#pragma once

#include <cmath>

#include "kernels/cuda/device/cuda.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// 2^x, relative error at most 2^-22 (PTX ISA, ex2).
__device__ inline float exp2_approximate(float x) {
#ifdef __CUDACC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return flush_denormal(std::exp2(flush_denormal(x)));
#endif
}

// 1 / x, relative error at most 2^-23 (PTX ISA, rcp).
__device__ inline float reciprocal_approximate(float x) {
#ifdef __CUDACC__
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return flush_denormal(1.0f / flush_denormal(x));
#endif
}

// tanh(x), relative error at most 2^-11; denormal numbers are kept, at no cost (PTX ISA, tanh).
__device__ inline float tanh_approximate(float x) {
#ifdef __CUDACC__
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::tanh(x);
#endif
}

// SiLU of z, given t = kSiluScale z: z / (1 + exp(-z)) = t / (s + s 2^t) with s = -log2(e). Who has
// z from a multiplication has t at no cost.
inline constexpr float kSiluScale = -1.44269504f;
__device__ inline float silu_of_scaled(float t) {
  return t * reciprocal_approximate(fmaf(kSiluScale, exp2_approximate(t), kSiluScale));
}

// 1 / (1 + exp(-z)): a few units in the last place, and 0 and 1 at the far ends.
__device__ inline float sigmoid_approximate(float z) {
  return reciprocal_approximate(1.0f + exp2_approximate(-1.44269504f * z));
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
