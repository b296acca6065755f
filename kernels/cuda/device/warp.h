// Reductions across a warp and a block.
#pragma once

namespace diffscm::kernels::DIFFSCM_TARGET {

inline constexpr unsigned kFullMask = 0xffffffffu;

// The sum (maximum) over a warp's 32 lanes, in every lane. Every lane must call. The order is
// fixed, so results are bit-reproducible. T is float or double.
template <class T>
__device__ inline T warp_sum(T x) {
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kFullMask, x, offset);
  return x;
}
template <class T>
__device__ inline T warp_max(T x) {
  for (int offset = 16; offset > 0; offset /= 2) {
    const T other = __shfl_xor_sync(kFullMask, x, offset);
    x = other > x ? other : x;
  }
  return x;
}

// The sum over a block of `threads` threads (a multiple of 32, x dimension only), in every thread.
// scratch: threads / 32 elements of shared memory; it may be reused after the call's last barrier,
// that is, at once.
template <int threads, class T>
__device__ inline T block_sum(T x, T* scratch) {
  static_assert(threads % 32 == 0 && threads <= 1024);
  x = warp_sum(x);
  if constexpr (threads == 32) {
    return x;
  } else {
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
    __syncthreads();
    T sum = 0;
    for (int warp = 0; warp < threads / 32; ++warp) sum += scratch[warp];
    __syncthreads();
    return sum;
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
