// cp.async.bulk: one thread has the copy engine bring a run of bytes from global to shared memory,
// and everybody waits for it at an mbarrier (sm_90 and later).
//
// A barrier goes through phases 0, 1, 0, 1, ... A phase is complete when as many threads as the
// barrier is for have announced copies, and all bytes announced have come; the next one begins at
// once. A thread waits for the phase that it is in: 0 the first time, 1 the second, and so on. The
// order of a kernel is
//   initialise(barrier, 1); __syncthreads();              (one thread; everybody)
//   expect_copies(barrier, bytes); bulk_copy(...) ...     (one thread; bytes of all these copies)
//   wait_for_copies(barrier, phase); ... reads ...        (each thread that reads)
//   __syncthreads();                                      (everybody, before the bytes are copied
//                                                          over; and so on with the other phase)
// Nobody may expect copies of a barrier before its last phase was waited for.
//
// The copies are writes of the async proxy. Hence
//   - wgmma sees them after the wait, without async_proxy_fence() (wgmma.h);
//   - where ld.shared, ldmatrix or a wgmma that was waited for have read, a barrier of the readers
//     and the thread that starts the copy is enough (CUTLASS, PipelineTmaAsync::consumer_release);
//   - where st.shared has written, each thread that wrote calls async_proxy_fence() before that
//     barrier, or the write may come after the copy;
//   - global memory must have been written by an earlier kernel, or by a copy of the host.
#pragma once

#include "kernels/cuda/device/shared_address.h"
#ifndef __CUDACC__
#include "kernels/emulator/bulk_copy.h"
#endif

namespace diffscm::kernels::DIFFSCM_TARGET {

// Whether this compilation has them: kernels are empty where a file is compiled for an older
// architecture, too.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
inline constexpr bool kHasBulkCopies = false;
#define DIFFSCM_BULK_COPY(...)
#else
inline constexpr bool kHasBulkCopies = true;
#define DIFFSCM_BULK_COPY(...) asm volatile(__VA_ARGS__)
#endif

// An mbarrier, in shared memory. Its bits are the hardware's own.
struct alignas(8) CopyBarrier {
  uint64_t bits;
};

// For `arrivals` calls of expect_copies() in each phase. One thread; nobody may use the barrier
// before a __syncthreads() after it. (The fence is that of CUTLASS, fence_barrier_init().)
__device__ inline void initialise(CopyBarrier& barrier, [[maybe_unused]] int arrivals) {
#ifdef __CUDACC__
  [[maybe_unused]] const uint32_t at = shared_address_of(&barrier);
  DIFFSCM_BULK_COPY("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(arrivals) : "memory");
  DIFFSCM_BULK_COPY("fence.mbarrier_init.release.cluster;" ::: "memory");
#else
  emulate_initialise(&barrier, arrivals);
#endif
}

// Announces copies of `bytes` altogether, less than 1 MB, in the barrier's present phase.
__device__ inline void expect_copies(CopyBarrier& barrier, [[maybe_unused]] int bytes) {
#ifdef __CUDACC__
  [[maybe_unused]] const uint32_t at = shared_address_of(&barrier);
  DIFFSCM_BULK_COPY("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes)
                    : "memory");
#else
  emulate_expect_copies(&barrier, bytes);
#endif
}

// Starts copying. Both addresses and `bytes` are multiples of 16. Until the barrier's phase was
// waited for, nobody may touch the target.
__device__ inline void bulk_copy(void* shared, [[maybe_unused]] const void* global,
                                 [[maybe_unused]] int bytes, CopyBarrier& barrier) {
#ifdef __CUDACC__
  [[maybe_unused]] const uint32_t to = shared_address_of(shared), at = shared_address_of(&barrier);
  DIFFSCM_BULK_COPY(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(to),
      "l"(global), "r"(bytes), "r"(at)
      : "memory");
#else
  emulate_bulk_copy(shared, global, bytes, &barrier);
#endif
}

// Waits until the barrier's phase is complete whose parity is `phase`, 0 or 1. Returns at once
// where the barrier is already in a phase of the other parity.
__device__ inline void wait_for_copies(CopyBarrier& barrier, [[maybe_unused]] int phase) {
#ifdef __CUDACC__
  [[maybe_unused]] const uint32_t at = shared_address_of(&barrier);
  uint32_t complete = kHasBulkCopies ? 0 : 1;
  while (complete == 0) {
    DIFFSCM_BULK_COPY(
        "{\n"
        ".reg .pred complete;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 complete, [%1], %2;\n"
        "selp.u32 %0, 1, 0, complete;\n"
        "}"
        : "=r"(complete)
        : "r"(at), "r"(phase)
        : "memory");
  }
#else
  emulate_wait_for_copies(&barrier, phase);
#endif
}

#undef DIFFSCM_BULK_COPY

}  // namespace diffscm::kernels::DIFFSCM_TARGET
