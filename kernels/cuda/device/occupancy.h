// How many blocks of a kernel a device holds at once, for kernels whose blocks take one piece of
// work after another.
#pragma once

#include <cstddef>

#include "kernels/cuda/device/cuda.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

#ifdef __CUDACC__
template <auto kernel>
int blocks_at_once(int threads, size_t shared_bytes) {
  static const int each = [&] {
    const auto* function = reinterpret_cast<const void*>(kernel);
    allow_shared_memory(function, shared_bytes);
    int blocks = 0;
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, threads, shared_bytes),
          "asking for a kernel's occupancy");
    return blocks;
  }();
  return each * multiprocessors();
}
#else
template <auto kernel>
int blocks_at_once(int, size_t) {
  return multiprocessors();
}
#endif

}  // namespace diffscm::kernels::DIFFSCM_TARGET
