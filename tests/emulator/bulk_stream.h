// An array that passes through two slots of shared memory by bulk copies, for both compilers: the
// emulator's tests have it, and those of the device in software, by way of nvcc.
#pragma once

#include "kernels/cuda/device/bulk_copy.h"
#include "kernels/cuda/device/cuda.h"
#include "tests/emulator/stream_elements.h"

namespace diffscm::kernels::DIFFSCM_TARGET::test {

struct BulkSlots {
  static constexpr int kThreads = 96,
                       kNumbers = kernels::test::kSlotNumbers;  // of the block; of a slot
  alignas(16) float slot[2][kNumbers];
  CopyBarrier barrier[2];
};

// y[i] = x[j] + i / kNumbers, where j counts each slot's numbers from its end. `phases`: whether
// the kernel tells the phases of a barrier apart, as it must.
template <bool phases>
__global__ void stream_reversed(const float* x, float* y, int slots) {
  follow_previous_kernel();
  constexpr int kNumbers = BulkSlots::kNumbers, kFirst = 128;  // two copies: unequal parts
  auto& shared = shared_memory<BulkSlots>();
  const int t = static_cast<int>(threadIdx.x);
  const auto start = [&](int s) {
    float* const to = shared.slot[s % 2];
    const float* const from = x + s * kNumbers;
    CopyBarrier& barrier = shared.barrier[s % 2];
    expect_copies(barrier, kNumbers * 4);
    bulk_copy(to, from, kFirst * 4, barrier);
    bulk_copy(to + kFirst, from + kFirst, (kNumbers - kFirst) * 4, barrier);
  };
  if (t == 0)
    for (CopyBarrier& barrier : shared.barrier) initialise(barrier, 1);
  __syncthreads();
  if (t == 0)
    for (int s = 0; s < 2 && s < slots; ++s) start(s);
  for (int s = 0; s < slots; ++s) {
    wait_for_copies(shared.barrier[s % 2], phases ? s / 2 % 2 : 0);
    for (int i = t; i < kNumbers; i += BulkSlots::kThreads)
      y[s * kNumbers + i] = shared.slot[s % 2][kNumbers - 1 - i] + static_cast<float>(s);
    __syncthreads();
    if (t == 0 && s + 2 < slots) start(s + 2);
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET::test
