// How much shared memory a block can have, for kernels whose plan depends on it.
#pragma once

#include <cstddef>

#include "kernels/cuda/device/cuda.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

#ifdef __CUDACC__
size_t most_shared_memory();  // kernels/cuda/runtime.cpp
#else
inline size_t most_shared_memory() {
  return emulator::kMaxSharedBytes;
}
#endif

}  // namespace diffscm::kernels::DIFFSCM_TARGET
