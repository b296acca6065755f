// The copy of async_copy.h by way of the L1, which keeps what passes: for what a block copies more
// than once.
#pragma once

#include "kernels/cuda/device/async_copy.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

__device__ inline void async_copy_16_cached(void* shared, const void* global, bool valid) {
#ifdef __CUDACC__
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address_of(shared)),
               "l"(global), "r"(valid ? 16 : 0)
               : "memory");
#else
  async_copy_16(shared, global, valid);
#endif
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
