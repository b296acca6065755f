// prefetch: 32 bytes of global memory on their way to the L2, so that a load that comes later waits
// less.
#pragma once

#include "kernels/cuda/device/cuda.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

inline constexpr int kSectorBytes = 32;

__device__ inline void prefetch_l2([[maybe_unused]] const void* global) {
#ifdef __CUDACC__
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
#endif
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
