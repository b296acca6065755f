// Conversions between f32, in which everything is computed, and the storage type.
#pragma once

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T>
__device__ T from_float(float x);

template <>
__device__ inline float from_float<float>(float x) {
  return x;
}

// Rounds to nearest, ties to even.
template <>
__device__ inline bf16 from_float<bf16>(float x) {
#ifdef __CUDACC__
  bf16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
#else
  return to_bf16(x);
#endif
}

// Hides from the compiler that x is what it was before, so that it computes what follows from x
// again, a few instructions, instead of keeping dozens of results in registers that it does not
// have.
__device__ inline void forget_origin([[maybe_unused]] int& x) {
#ifdef __CUDACC__
  asm volatile("" : "+r"(x));
#endif
}

// Two values in one 32-bit register, `low` in the lower half, as the tensor-core fragments want
// them.
__device__ inline uint32_t pack_bf16(float low, float high) {
#ifdef __CUDACC__
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return to_bf16(low).bits | static_cast<uint32_t>(to_bf16(high).bits) << 16;
#endif
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
