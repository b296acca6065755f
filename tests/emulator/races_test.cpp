// Accesses that nothing orders. The race build names both lines; in every other build poison and
// the order of threads show them as wrong results. Correct kernels beside them are never flagged.
#include <cmath>
#include <vector>

#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/cuda.h"
#include "kernels/cuda/device/mma.h"
#include "kernels/targets.h"
#include "tests/emulator/support.h"

namespace diffscm::kernels::emu {
namespace {

using test::error_of;
using test::first_line;

struct Line {
  float x[256];
};

// Each thread reads its neighbour's element.
const std::string kNeighboursRead = LINE_BELOW(7);
template <bool barrier>
__global__ void neighbours(const float* x, float* y) {
  auto& s = shared_memory<Line>();
  const unsigned i = threadIdx.x;
  s.x[i] = x[i];
  if (barrier) __syncthreads();
  y[i] = s.x[(i + 1) % 256];
}

// A block-wide sum whose scratch is used again without waiting for its last readers.
const std::string kSumsWrite = LINE_BELOW(8), kSumsRead = LINE_BELOW(10);
template <bool barrier>
__global__ void two_sums(const float* x, float* y) {
  auto& s = shared_memory<Line>();
  const unsigned i = threadIdx.x;
  float total = 0;
  for (int round = 0; round < 2; ++round) {
    const float sum = warp_sum(x[i]);
    if (i % 32 == 0) s.x[i / 32] = sum * static_cast<float>(round + 1);
    __syncthreads();
    for (unsigned warp = 0; warp < 8; ++warp) total += s.x[warp];
    if (barrier) __syncthreads();
  }
  y[i] = total;
}

// Within one warp: a shuffle orders no memory accesses, __syncwarp does.
template <bool sync>
__global__ void within_warp(float* y) {
  auto& s = shared_memory<Line>();
  const unsigned i = threadIdx.x;
  s.x[i] = static_cast<float>(i);
  if (sync) {
    __syncwarp();
  } else {
    y[0] = 0;
    __shfl_xor_sync(kFullMask, 1, 1);
  }
  y[1 + i] = s.x[31 - i];
}

// All blocks write one element.
template <bool own>
__global__ void blocks_collide(float* y) {
  if (threadIdx.x == 0) y[own ? blockIdx.x : 0] = 1.0f;
}

template <bool atomic>
__global__ void counts(unsigned* total) {
  if (atomic) {
    atomicAdd(total, 1u);
  } else {
    ++*total;
  }
}

// The block that comes last adds up what all wrote.
template <bool fence>
__global__ void last_block(const float* x, float* partial, unsigned* done, float* y) {
  auto& s = shared_memory<Line>();
  const float sum = warp_sum(x[32 * blockIdx.x + threadIdx.x]);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = sum;
    if (fence) __threadfence();
    s.x[0] = atomicAdd(done, 1u) == gridDim.x - 1 ? 1.0f : 0.0f;
  }
  __syncthreads();
  if (s.x[0] != 0 && threadIdx.x == 0) {
    float total = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) total += partial[b];
    *y = total;
  }
}

const std::string kUninitialisedRead = LINE_BELOW(5);
template <bool initialise>
__global__ void reads_uninitialised(float* y) {
  auto& s = shared_memory<Line>();
  if (initialise) s.x[threadIdx.x] = 3;
  y[threadIdx.x] = s.x[threadIdx.x];
}

enum class Wait { none, too_few, own_only, enough };

const std::string kAsyncRead = LINE_BELOW(10);
template <Wait wait>
__global__ void reads_async(const float* x, float* y) {
  auto& s = shared_memory<Line>();
  const unsigned i = threadIdx.x;
  async_copy_16(&s.x[4 * i], x + 4 * i, true);
  async_copy_commit();
  if (wait == Wait::too_few) async_copy_wait<1>();
  if (wait == Wait::own_only || wait == Wait::enough) async_copy_wait<0>();
  if (wait == Wait::enough) __syncthreads();
  for (unsigned j = 0; j < 4; ++j) y[i + 64 * j] = s.x[i + 64 * j];
}

struct Inputs {
  alignas(16) float x_data[256];
  float y_data[256];
  float* x = x_data;
  float* y = y_data;
  Inputs() {
    for (int i = 0; i < 256; ++i) {
      x[i] = static_cast<float>(i % 17);
      y[i] = -1;
    }
  }
};

TEST(Races, CorrectKernelsAreNotFlagged) {
  test::in_every_order([] {
    Inputs d;
    unsigned total = 0, done = 0;
    const size_t line = sizeof(Line);
    launch<neighbours<true>>(1, 256, line, {}, d.x, d.y);
    EXPECT_EQ(d.y[7], d.x[8]);
    launch<two_sums<true>>(1, 256, line, {}, d.x, d.y);
    launch<within_warp<true>>(1, 32, line, {}, d.y);
    EXPECT_EQ(d.y[1], 31.0f);
    launch<blocks_collide<true>>(64, 32, 0, {}, d.y);
    launch<counts<true>>(8, 64, 0, {}, &total);
    EXPECT_EQ(total, 512u);
    launch<last_block<true>>(8, 32, line, {}, d.x, d.y + 1, &done, d.y);
    float sum = 0;
    for (const float v : d.x_data) sum += v;
    EXPECT_EQ(d.y[0], sum);
    launch<reads_uninitialised<true>>(1, 32, line, {}, d.y);
    launch<reads_async<Wait::enough>>(1, 64, line, {}, d.x, d.y);
    EXPECT_EQ(d.y[255], d.x[255]);
  });
}

#ifdef DIFFSCM_EMU_RACE

TEST(Races, MissingBarrier) {
  Inputs d;
  const std::string message =
      error_of([&] { launch<neighbours<false>>(1, 256, sizeof(Line), {}, d.x, d.y); });
  EXPECT_REPORT(first_line(message), "kernel neighbours<false>, block (0,0,0), thread");
  // In the order that is used, the neighbour has not even started.
  EXPECT_REPORT(first_line(message), "which no thread of the block has written yet");
  EXPECT_REPORT(first_line(message), kNeighboursRead);
  emulator::set_order(emulator::Order::parse("reverse"));
  const std::string reversed =
      error_of([&] { launch<neighbours<false>>(1, 256, sizeof(Line), {}, d.x, d.y); });
  emulator::set_order({});
  EXPECT_REPORT(first_line(reversed), kNeighboursRead);
}

TEST(Races, MissingSecondBarrier) {
  Inputs d;
  const std::string message =
      error_of([&] { launch<two_sums<false>>(1, 256, sizeof(Line), {}, d.x, d.y); });
  EXPECT_REPORT(first_line(message), "data race");
  EXPECT_REPORT(first_line(message), kSumsRead);
  EXPECT_REPORT(first_line(message), kSumsWrite);
}

TEST(Races, ShuffleInsteadOfSyncwarp) {
  Inputs d;
  const std::string message =
      error_of([&] { launch<within_warp<false>>(1, 32, sizeof(Line), {}, d.y); });
  EXPECT_REPORT(first_line(message), "data race");
}

TEST(Races, BetweenBlocks) {
  auto* y = static_cast<float*>(runtime().allocate(64));
  const std::string message = error_of([&] { launch<blocks_collide<false>>(3, 32, 0, {}, y); });
  EXPECT_REPORT(first_line(message), "kernel blocks_collide<false>, block (1,0,0), thread (0,0,0)");
  EXPECT_REPORT(first_line(message), "byte 0 of a block of 64 bytes");
  EXPECT_REPORT(first_line(message), "the write by block (0,0,0), thread (0,0,0)");
  runtime().release(y);
}

TEST(Races, PlainIncrementInsteadOfAtomic) {
  unsigned total = 0;
  EXPECT_REPORT(error_of([&] { launch<counts<false>>(1, 64, 0, {}, &total); }), "data race");
}

TEST(Races, LastBlockWithoutFence) {
  Inputs d;
  unsigned done = 0;
  const std::string message = error_of(
      [&] { launch<last_block<false>>(4, 32, sizeof(Line), {}, d.x, d.y + 1, &done, d.y); });
  EXPECT_REPORT(first_line(message), "kernel last_block<false>, block (3,0,0)");
  EXPECT_REPORT(first_line(message), "blocks of a launch run in any order");
}

TEST(Races, UninitialisedSharedMemory) {
  Inputs d;
  const std::string message =
      error_of([&] { launch<reads_uninitialised<false>>(1, 32, sizeof(Line), {}, d.y); });
  EXPECT_REPORT(first_line(message), "which no thread of the block has written yet");
  EXPECT_REPORT(first_line(message), kUninitialisedRead);
}

TEST(Races, AsyncCopyNotWaitedFor) {
  Inputs d;
  std::string message =
      error_of([&] { launch<reads_async<Wait::none>>(1, 64, sizeof(Line), {}, d.x, d.y); });
  EXPECT_REPORT(first_line(message), "has not been waited for");
  EXPECT_REPORT(first_line(message), kAsyncRead);
  message =
      error_of([&] { launch<reads_async<Wait::too_few>>(1, 64, sizeof(Line), {}, d.x, d.y); });
  EXPECT_REPORT(first_line(message), "has not been waited for");
  // Each thread waits for its own copies and then reads those of others.
  message =
      error_of([&] { launch<reads_async<Wait::own_only>>(1, 64, sizeof(Line), {}, d.x, d.y); });
  EXPECT_NE(message, "");
}

#else

// Without the checker, the same bugs give NaN or wrong numbers.
bool any_nan(const Inputs& d) {
  for (const float v : d.y_data)
    if (std::isnan(v)) return true;
  return false;
}

TEST(Races, PoisonAndOrderShowThem) {
  {
    Inputs d;
    launch<neighbours<false>>(1, 256, sizeof(Line), {}, d.x, d.y);
    EXPECT_TRUE(any_nan(d)) << "missing barrier";
  }
  {
    Inputs good, bad;
    launch<two_sums<true>>(1, 256, sizeof(Line), {}, good.x, good.y);
    launch<two_sums<false>>(1, 256, sizeof(Line), {}, bad.x, bad.y);
    EXPECT_NE(good.y[200], bad.y[200]) << "missing second barrier";
  }
  {
    Inputs d;
    launch<reads_uninitialised<false>>(1, 32, sizeof(Line), {}, d.y);
    EXPECT_TRUE(any_nan(d)) << "uninitialised shared memory";
  }
  {
    Inputs d;
    launch<reads_async<Wait::none>>(1, 64, sizeof(Line), {}, d.x, d.y);
    EXPECT_TRUE(any_nan(d)) << "cp.async not waited for";
  }
}

#endif

}  // namespace
}  // namespace diffscm::kernels::emu
