// An address in shared memory as a number: 32 bits on a GPU, where pointers take two registers, and
// what the instructions of a warp's copies want.
#pragma once

#include "kernels/cuda/device/cuda.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

#ifdef __CUDACC__
using SharedAddress = uint32_t;
__device__ inline SharedAddress shared_address_of(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}
#else
using SharedAddress = uintptr_t;
inline SharedAddress shared_address_of(const void* shared) {
  return reinterpret_cast<uintptr_t>(shared);
}
#endif

}  // namespace diffscm::kernels::DIFFSCM_TARGET
