// cp.async: copies from global to shared memory that do not pass through registers and that the
// thread does not wait for (sm_80 and later).
#pragma once

#include "kernels/cuda/device/shared_address.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// Starts copying 16 bytes; where `valid` is false, 16 zeros are written and `global`, which may
// then point anywhere, is not read. Both addresses must be multiples of 16. The data may be read
// after the thread's async_copy_wait() for its group, and by other threads after a barrier
// following that.
__device__ inline void async_copy_16(SharedAddress shared, const void* global, bool valid) {
#ifdef __CUDACC__
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
#else
  emulate_async_copy(reinterpret_cast<void*>(shared), global, 16, valid);
#endif
}
__device__ inline void async_copy_16(void* shared, const void* global, bool valid) {
  async_copy_16(shared_address_of(shared), global, valid);
}

// Closes the group of copies this thread has started since the last call.
__device__ inline void async_copy_commit() {
#ifdef __CUDACC__
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulate_async_commit();
#endif
}

// Waits until at most `pending` of this thread's groups are still under way.
template <int pending>
__device__ inline void async_copy_wait() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#else
  emulate_async_wait(pending);
#endif
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
