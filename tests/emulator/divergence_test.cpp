// Threads that wait for others which never come: each is reported with its kernel and line.
#include <vector>

#include "kernels/cuda/device/cuda.h"
#include "kernels/cuda/device/mma.h"
#include "tests/emulator/support.h"

namespace diffscm::kernels::emu {
namespace {

using test::error_of;
using test::first_line;

const std::string kShuffleLine = LINE_BELOW(3);
__global__ void half_shuffles_half_waits(int* out) {
  if (threadIdx.x < 16) {
    out[threadIdx.x] = __shfl_xor_sync(kFullMask, 1, 1);
  } else {
    __syncthreads();
  }
}

TEST(Divergence, Deadlock) {
  std::vector<int> out(64);
  const std::string message = error_of([&] {
    launch<half_shuffles_half_waits>({1, 2}, 32, 0, {}, out.data());
  });
  EXPECT_REPORT(first_line(message), "kernel half_shuffles_half_waits, block (0,0,0)");
  EXPECT_REPORT(first_line(message), "deadlock");
  EXPECT_REPORT(message, "16 threads __shfl_xor_sync at " + kShuffleLine + ": 0-15");
  EXPECT_REPORT(message, "16 threads in __syncthreads() at tests/emulator/divergence_test.cpp");
}

const std::string kFirstBarrier = LINE_BELOW(3), kSecondBarrier = LINE_BELOW(5);
__global__ void two_barriers() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST(Divergence, BarriersOnTwoLines) {
  const std::string message = error_of([] { launch<two_barriers>(1, 64, 0, {}); });
  EXPECT_REPORT(first_line(message), "kernel two_barriers, block (0,0,0), thread (32,0,0), at " +
                                         kSecondBarrier + ": divergent __syncthreads()");
  EXPECT_REPORT(first_line(message), "wait at " + kFirstBarrier);
}

__global__ void returns_before_barrier(int n) {
  if (static_cast<int>(threadIdx.x) >= n) return;
  __syncthreads();
}

TEST(Divergence, ExitedThreadsAtABarrier) {
  test::in_every_order([] {
    const std::string message = error_of([] { launch<returns_before_barrier>(3, 64, 0, {}, 40); });
    EXPECT_REPORT(first_line(message), "kernel returns_before_barrier");
    EXPECT_REPORT(first_line(message), "exited");
    EXPECT_REPORT(first_line(message), "__syncthreads()");
    EXPECT_REPORT(first_line(message), "tests/emulator/divergence_test.cpp");
  });
}

TEST(Divergence, AllThreadsAtTheBarrierIsFine) {
  EXPECT_EQ(error_of([] { launch<returns_before_barrier>(3, 64, 0, {}, 64); }), "");
}

__global__ void mask_without_caller(int* out) {
  out[threadIdx.x] = __shfl_sync(0x0000ffffu, 1, 0);
}

TEST(Divergence, LaneNotInItsOwnMask) {
  std::vector<int> out(64);
  const std::string message =
      error_of([&] { launch<mask_without_caller>(1, 32, 0, {}, out.data()); });
  EXPECT_REPORT(first_line(message), "thread (16,0,0)");
  EXPECT_REPORT(first_line(message),
                "__shfl_sync with mask 0x0000ffff, which does not contain the calling lane 16");
}

__global__ void shuffle_after_exit(int* out) {
  if (threadIdx.x % 32 == 7) return;
  out[threadIdx.x] = __shfl_sync(kFullMask, 1, 0);
}

TEST(Divergence, MaskNamesAnExitedLane) {
  std::vector<int> out(64);
  for (const char* order : {"forward", "reverse"}) {
    emulator::set_order(emulator::Order::parse(order));
    const std::string message =
        error_of([&] { launch<shuffle_after_exit>(1, 32, 0, {}, out.data()); });
    EXPECT_REPORT(first_line(message), "kernel shuffle_after_exit");
    EXPECT_REPORT(first_line(message), "lane 7");
    EXPECT_REPORT(first_line(message), "exited");
  }
  emulator::set_order({});
}

__global__ void full_mask(int* out) {
  out[threadIdx.x] = __any_sync(kFullMask, 1);
}

TEST(Divergence, MaskNamesALaneThatDoesNotExist) {
  std::vector<int> out(64);
  const std::string message = error_of([&] { launch<full_mask>(1, 40, 0, {}, out.data()); });
  EXPECT_REPORT(first_line(message), "thread (32,0,0)");
  EXPECT_REPORT(first_line(message), "names lane 8, which the block does not have");
}

__global__ void reads_outside_mask(int* out) {
  if (threadIdx.x < 8) out[threadIdx.x] = __shfl_sync(0xffu, 1, 9);
}

TEST(Divergence, ShuffleReadsALaneOutsideItsMask) {
  std::vector<int> out(64);
  const std::string message =
      error_of([&] { launch<reads_outside_mask>(1, 32, 0, {}, out.data()); });
  EXPECT_REPORT(first_line(message), "reads lane 9, which mask 0x000000ff does not contain");
}

__global__ void shuffle_or_vote(int* out) {
  out[threadIdx.x] = threadIdx.x < 16 ? __shfl_xor_sync(kFullMask, 1, 1) : __any_sync(kFullMask, 1);
}

TEST(Divergence, LanesOfOneMaskInDifferentOperations) {
  std::vector<int> out(64);
  const std::string message = error_of([&] { launch<shuffle_or_vote>(1, 32, 0, {}, out.data()); });
  EXPECT_REPORT(first_line(message), "are in different operations: a vote here, __shfl_xor_sync");
}

__global__ void mma_by_31_lanes(float* out) {
  if (threadIdx.x == 31) return;
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  mma_m16n8k16(d, a, b);
  out[threadIdx.x] = d[0];
}

TEST(Divergence, MmaNeedsAllLanes) {
  std::vector<float> out(32);
  const std::string message = error_of([&] { launch<mma_by_31_lanes>(1, 32, 0, {}, out.data()); });
  EXPECT_REPORT(first_line(message), "lane 31 has exited");
  EXPECT_REPORT(first_line(message), "wait for it in mma");
}

__global__ void throws(int when) {
  if (static_cast<int>(blockIdx.x) >= when) fail("thrown by block {}", blockIdx.x);
}

TEST(Divergence, WhatAKernelThrowsReachesItsLauncher) {
  test::in_every_order([] {
    const std::string message = error_of([] { launch<throws>(200, 32, 0, {}, 150); });
    EXPECT_TRUE(message.starts_with("thrown by block 1")) << message;
  });
  EXPECT_EQ(error_of([] { launch<throws>(200, 32, 0, {}, 150); }), "thrown by block 150");
}

}  // namespace
}  // namespace diffscm::kernels::emu
