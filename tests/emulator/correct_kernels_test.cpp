// Correct kernels: each primitive of the emulator does what CUDA defines, in every thread order,
// and nothing is reported.
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/cuda.h"
#include "kernels/cuda/device/mma.h"
#include "tests/emulator/support.h"

namespace diffscm::kernels::emu {
namespace {

using test::in_every_order;

__global__ void scale(const float* x, float* y, int n, float factor) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < static_cast<unsigned>(n)) y[i] = factor * x[i];
}

TEST(Emulator, ThreadsWithoutBarriers) {
  std::vector<float> x(1000), y(1000);
  std::iota(x.begin(), x.end(), 0.0f);
  in_every_order([&] {
    std::fill(y.begin(), y.end(), -1.0f);
    launch<scale>(4, 256, 0, {}, x.data(), y.data(), 1000, 2);  // 2 becomes a float
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(y[i], 2.0f * i);
  });
}

__global__ void indices(unsigned* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] += block * 1000 + thread;
}

TEST(Emulator, EveryThreadRunsOnce) {
  in_every_order([&] {
    std::vector<unsigned> out(2 * 3 * 4 * 60, 7);
    launch<indices>({2, 3, 4}, {5, 4, 3}, 0, {}, out.data());
    for (unsigned i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], 7 + i / 60 * 1000 + i % 60);
  });
}

struct Scratch {
  double partial[8];
};

__global__ void __launch_bounds__(256) block_sums(const double* x, double* y) {
  auto& s = shared_memory<Scratch>();
  const double mine = x[blockIdx.x * 256 + threadIdx.x];
  const double first = block_sum<256>(mine, s.partial);
  const double second = block_sum<256>(mine * first, s.partial);
  if (threadIdx.x == 255) y[blockIdx.x] = second;
}

TEST(Emulator, BlockReduction) {
  std::vector<double> x(256 * 5), y(5);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i % 37);
  in_every_order([&] {
    launch<block_sums>(5, 256, sizeof(Scratch), {}, x.data(), y.data());
    for (int b = 0; b < 5; ++b) {
      const double sum = std::accumulate(&x[256 * b], &x[256 * b] + 256, 0.0);
      EXPECT_EQ(y[b], sum * sum);
    }
  });
}

struct Shuffled {
  int index, up, down, exchanged, narrow, half;
  unsigned ballot;
  int any, all;
};

__global__ void shuffles(Shuffled* out) {
  const int lane = static_cast<int>(threadIdx.x);
  Shuffled& o = out[lane];
  o.index = __shfl_sync(kFullMask, 100 + lane, lane * 7);
  o.up = __shfl_up_sync(kFullMask, 100 + lane, 3);
  o.down = __shfl_down_sync(kFullMask, 100 + lane, 3);
  o.exchanged = __shfl_xor_sync(kFullMask, 100 + lane, 5);
  o.narrow = __shfl_down_sync(kFullMask, 100 + lane, 1, 8);
  // The halves of the warp diverge and use masks of their own.
  o.half = lane < 16 ? __shfl_sync(0x0000ffffu, lane, 15) : __shfl_sync(0xffff0000u, lane, 31);
  o.ballot = __ballot_sync(kFullMask, lane % 3 == 0);
  o.any = __any_sync(kFullMask, lane == 31);
  o.all = __all_sync(kFullMask, lane < 31);
  __syncwarp();
}

TEST(Emulator, ShufflesAndVotes) {
  in_every_order([] {
    std::vector<Shuffled> out(32);
    launch<shuffles>(1, 32, 0, {}, out.data());
    for (int lane = 0; lane < 32; ++lane) {
      SCOPED_TRACE(lane);
      EXPECT_EQ(out[lane].index, 100 + lane * 7 % 32);
      EXPECT_EQ(out[lane].up, 100 + (lane < 3 ? lane : lane - 3));
      EXPECT_EQ(out[lane].down, 100 + (lane > 28 ? lane : lane + 3));
      EXPECT_EQ(out[lane].exchanged, 100 + (lane ^ 5));
      EXPECT_EQ(out[lane].narrow, 100 + (lane % 8 == 7 ? lane : lane + 1));
      EXPECT_EQ(out[lane].half, lane < 16 ? 15 : 31);
      EXPECT_EQ(out[lane].ballot, 0x49249249u);
      EXPECT_EQ(out[lane].any, 1);
      EXPECT_EQ(out[lane].all, 0);
    }
  });
}

struct MatrixTiles {
  bf16 a[2][16][16 + 8];
  bf16 b[2][16][8 + 8];
};

// One 16x8 tile of A B, k = 16 at a time; the next slice is copied while one is multiplied.
__global__ void gemm_tile(const bf16* a, const bf16* b, float* c, int k) {
  auto& s = shared_memory<MatrixTiles>();
  const int lane = static_cast<int>(threadIdx.x);
  const auto fetch = [&](int slice) {
    const int row = lane / 2, half = lane % 2;
    const bool inside = slice * 16 < k;
    async_copy_16(&s.a[slice % 2][row][8 * half], a + row * k + slice * 16 + 8 * half, inside);
    if (half == 0) async_copy_16(&s.b[slice % 2][row][0], b + (slice * 16 + row) * 8, inside);
    async_copy_commit();
  };
  float d[4] = {};
  fetch(0);
  for (int slice = 0; slice < k / 16; ++slice) {
    fetch(slice + 1);
    async_copy_wait<1>();
    __syncwarp();
    uint32_t fa[4], both[4];  // of b there are two matrices: read twice
    ldmatrix_x4(fa, &s.a[slice % 2][lane % 8 + 8 * (lane / 8 % 2)][8 * (lane / 16)]);
    ldmatrix_x4_transposed(both, &s.b[slice % 2][lane % 16][0]);
    const uint32_t fb[2] = {both[0], both[1]};
    mma_m16n8k16(d, fa, fb);
    __syncwarp();
  }
  for (int i = 0; i < 4; ++i) c[(lane / 4 + 8 * (i / 2)) * 8 + 2 * (lane % 4) + i % 2] = d[i];
}

TEST(Emulator, MatrixTileFedByAsyncCopies) {
  constexpr int kDepth = 64;
  alignas(16) static bf16 a[16 * kDepth], b[kDepth * 8];
  for (int i = 0; i < 16 * kDepth; ++i) a[i] = to_bf16(static_cast<float>(i * 7 % 13 - 6));
  for (int i = 0; i < 8 * kDepth; ++i) b[i] = to_bf16(static_cast<float>(i * 5 % 11 - 5));
  in_every_order([&] {
    std::vector<float> c(16 * 8, -1.0f);
    launch<gemm_tile>(1, 32, sizeof(MatrixTiles), {}, a, b, c.data(), kDepth);
    for (int row = 0; row < 16; ++row)
      for (int column = 0; column < 8; ++column) {
        float sum = 0;
        for (int k = 0; k < kDepth; ++k)
          sum += to_float(a[row * kDepth + k]) * to_float(b[k * 8 + column]);
        ASSERT_EQ(c[row * 8 + column], sum) << row << ", " << column;
      }
  });
}

__global__ void count(unsigned long long* total, int* largest, float* sum, unsigned* first) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(total, 1ull);
  atomicMax(largest, i * 31 % 1009);
  atomicAdd(sum, 1.0f);
  atomicCAS(first, 0u, 5u);
}

TEST(Emulator, Atomics) {
  in_every_order([] {
    unsigned long long total = 0;
    int largest = -1;
    float sum = 0;
    unsigned first = 0;
    launch<count>(8, 128, 0, {}, &total, &largest, &sum, &first);
    EXPECT_EQ(total, 1024u);
    EXPECT_EQ(largest, 1008);
    EXPECT_EQ(sum, 1024.0f);
    EXPECT_EQ(first, 5u);
  });
}

}  // namespace
}  // namespace diffscm::kernels::emu
