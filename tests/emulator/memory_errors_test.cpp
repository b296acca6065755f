// Launches that a GPU would refuse, and accesses that it would fault on or silently get wrong.
#include <cmath>
#include <vector>

#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/cuda.h"
#include "kernels/emulator/memory.h"
#include "kernels/targets.h"
#include "tests/emulator/support.h"

namespace diffscm::kernels::emu {
namespace {

using test::error_of;
using test::first_line;

__global__ void nothing() {}

TEST(MemoryErrors, LaunchLimits) {
  const auto refused = [](dim3 grid, dim3 block, size_t shared) {
    return error_of([&] { launch<nothing>(grid, block, shared, {}); });
  };
  EXPECT_EQ(refused(1, 1024, 227 << 10), "");
  EXPECT_EQ(refused({1, 65535}, {1, 1, 64}, 0), "");
  EXPECT_EQ(refused(0, 2048, 0), "") << "an empty grid does nothing";
  EXPECT_REPORT(refused(1, 1056, 0), "kernel nothing: a block of 1056 x 1 x 1 threads");
  EXPECT_REPORT(refused(1, {32, 33}, 0), "a block of 32 x 33 x 1 threads");
  EXPECT_REPORT(refused(1, {1, 1, 65}, 0), "a block of 1 x 1 x 65 threads");
  EXPECT_REPORT(refused(1, 0, 0), "a block of 0 x 1 x 1 threads is empty");
  EXPECT_REPORT(refused({1, 65536}, 1, 0), "a grid of 1 x 65536 x 1 blocks");
  EXPECT_REPORT(refused({1, 1, 65536}, 1, 0), "a grid of 1 x 1 x 65536 blocks");
  EXPECT_REPORT(refused(1, 1, (227 << 10) + 1), "232449 bytes of shared memory");
}

struct Tile {
  float x[64];
};

const std::string kTileLine = LINE_BELOW(2);
__global__ void uses_tile(float* out) {
  auto& tile = shared_memory<Tile>();
  tile.x[threadIdx.x] = 1;
  out[threadIdx.x] = tile.x[threadIdx.x];
}

TEST(MemoryErrors, SharedMemorySmallerThanTheKernelsStruct) {
  std::vector<float> out(64);
  EXPECT_EQ(error_of([&] { launch<uses_tile>(1, 64, sizeof(Tile), {}, out.data()); }), "");
  const std::string message =
      error_of([&] { launch<uses_tile>(1, 64, sizeof(Tile) - 1, {}, out.data()); });
  EXPECT_REPORT(first_line(message),
                "kernel uses_tile, block (0,0,0), thread (0,0,0), at " + kTileLine);
  EXPECT_REPORT(first_line(message), "needs 256 bytes, but the launch gave 255");
}

const std::string kVectorLine = LINE_BELOW(2);
__global__ void loads_vectors(const float* x, float* y) {
  const Vector<float, 4> v = load<4>(x + threadIdx.x);
  y[threadIdx.x] = v[0];
}

TEST(MemoryErrors, MisalignedVector) {
  alignas(16) static float x[16];
  std::vector<float> y(2);
  EXPECT_EQ(error_of([&] { launch<loads_vectors>(1, 1, 0, {}, x, y.data()); }), "");
  const std::string message = error_of([&] { launch<loads_vectors>(1, 2, 0, {}, x, y.data()); });
  EXPECT_REPORT(first_line(message), "kernel loads_vectors, block (0,0,0), thread (1,0,0)");
  EXPECT_REPORT(first_line(message), "misaligned access: 16 bytes at");
  EXPECT_REPORT(first_line(message), kVectorLine);
}

__global__ void copies_to_odd_address(const float* x) {
  auto& tile = shared_memory<Tile>();
  async_copy_16(&tile.x[threadIdx.x], x, true);
}

TEST(MemoryErrors, MisalignedAsyncCopy) {
  alignas(16) static float x[16];
  const std::string message =
      error_of([&] { launch<copies_to_odd_address>(1, 2, sizeof(Tile), {}, x); });
  EXPECT_REPORT(first_line(message), "thread (1,0,0)");
  EXPECT_REPORT(first_line(message), "misaligned access: 16 bytes");
}

TEST(MemoryErrors, HostPointersAreNotDeviceMemory) {
  auto* x = static_cast<float*>(runtime().allocate(64));
  std::vector<float> host(32, 1.0f);
  EXPECT_REPORT(error_of([&] { runtime().copy(host.data(), x, 64, Copy::to_device, {}); }),
                "which is not device memory");
  EXPECT_REPORT(error_of([&] { runtime().copy(x, host.data(), 65, Copy::to_device, {}); }),
                "a copy of 65 bytes writes");
  EXPECT_REPORT(error_of([&] { runtime().release(x + 1); }), "is not the start of a block");
  runtime().release(x);
}

#if !DIFFSCM_EMU_ASAN && !defined(DIFFSCM_EMU_RACE)

__global__ void fills(float* x) {
  x[threadIdx.x] = 2.0f;
}

TEST(MemoryErrorsDeathTest, HostTouchesDeviceMemory) {
  auto* x = static_cast<float*>(runtime().allocate(32 * sizeof(float)));
  std::vector<float> host(32);
  EXPECT_EXIT(
      {
        emulator::protect_device_memory();
        launch<fills>(1, 32, 0, {}, x);  // kernels and copies may
        runtime().copy(host.data(), x, 128, Copy::to_host, {});
        std::exit(host[31] == 2.0f ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
  EXPECT_DEATH(
      {
        emulator::protect_device_memory();
        x[3] = 1.0f;
      },
      "host code touched device memory of target emu at 0x[0-9a-f]+ .byte 12 of a block of 128 "
      "bytes., from tests/emulator/memory_errors_test.cpp:[0-9]+");
  runtime().release(x);
}

#endif

#if DIFFSCM_EMU_ASAN

__global__ void one_past_shared(float* out, unsigned extra) {
  auto& tile = shared_memory<Tile>();
  tile.x[threadIdx.x] = 1;
  // Through a pointer, or UBSan's check of array bounds would be faster.
  float* x = tile.x;
  out[threadIdx.x] = x[threadIdx.x + extra];
}

TEST(MemoryErrorsDeathTest, OutOfBoundsOfSharedMemory) {
  std::vector<float> out(64);
  launch<one_past_shared>(2, 64, sizeof(Tile), {}, out.data(), 0);
  EXPECT_DEATH(launch<one_past_shared>(2, 64, sizeof(Tile), {}, out.data(), 1),
               "kernel one_past_shared, block .0,0,0., thread .63,0,0.(.|\n)*heap-buffer-overflow");
}

__global__ void writes(float* x, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) x[i] = 1;
}

TEST(MemoryErrorsDeathTest, OutOfBoundsOfDeviceMemory) {
  auto* x = static_cast<float*>(runtime().allocate(100 * sizeof(float)));
  launch<writes>(2, 64, 0, {}, x, 100);
  EXPECT_DEATH(launch<writes>(2, 64, 0, {}, x, 101),
               "kernel writes, block .1,0,0., thread .36,0,0.(.|\n)*heap-buffer-overflow");
  runtime().release(x);
}

#endif

}  // namespace
}  // namespace diffscm::kernels::emu
