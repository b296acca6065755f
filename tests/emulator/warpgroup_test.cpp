// wgmma on the emulator: which element is where, by the tables of the PTX ISA, and misuse.
#include <vector>

#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/wgmma.h"
#include "kernels/emulator/memory.h"
#include "tests/emulator/support.h"

namespace diffscm::kernels::emu {
namespace {

using namespace test;

constexpr int kColumns = 128, kTile = 64;

struct Tiles {
  SwizzledRows<kTile> a;     // 64 x 64
  SwizzledRows<kColumns> b;  // 64 x 128: a row for each column, or for each k in two blocks
};

enum class Misuse { none, overwrite, no_wait };

float element_a(int m, int k) {
  return static_cast<float>((m * 7 + k * 3) % 31 - 15);
}
float element_b(int k, int n) {
  return static_cast<float>((k * 11 + n * 5) % 29 - 14);
}

// sums[m][n] = 1 + sum over 64 values of k of a[m][k] b[k][n].
template <bool b_along_n, Misuse misuse>
__global__ void multiply(float* sums) {
  auto& tiles = swizzled_shared_memory<Tiles>();
  const int t = static_cast<int>(threadIdx.x);
  for (int i = t; i < kTile * kTile; i += kWarpgroup)
    tiles.a.chunk(i / kTile, i % kTile / 8)[i % 8] = to_bf16(element_a(i / kTile, i % kTile));
  for (int i = t; i < kColumns * kTile; i += kWarpgroup) {
    const int n = i / kTile, k = i % kTile;
    bf16* const to = b_along_n ? tiles.b.chunk(n / 64 * kTile + k, n % 64 / 8) + n % 8
                               : tiles.b.chunk(n, k / 8) + k % 8;
    *to = to_bf16(element_b(k, n));
  }
  async_proxy_fence();
  __syncthreads();
  float d[kColumns / 2];
  for (float& x : d) x = 1;
  const uint64_t a = matrix_descriptor(&tiles.a);
  const uint64_t b = matrix_descriptor(&tiles.b, b_along_n ? kTile * 128 : 16);
  warpgroup_fence();
  for (int step = 0; step < kTile / 16; ++step)
    warpgroup_mma<b_along_n>(d, a + step * 2, b + step * (b_along_n ? 128 : 2));
  warpgroup_commit();
  if (misuse == Misuse::overwrite) tiles.a.at[t / 2][0] = bf16{0};
  if (misuse != Misuse::no_wait) warpgroup_wait<0>();
  arrived(d);
  for (int i = 0; i < kColumns / 2; ++i) {
    const int row = t / 32 * 16 + t % 32 / 4 + (i % 4 >= 2 ? 8 : 0);
    const int column = i / 4 * 8 + t % 4 * 2 + i % 2;
    sums[row * kColumns + column] = d[i];
  }
}

// A product whose A is described so.
__global__ void multiply_by(uint64_t a) {
  auto& tiles = swizzled_shared_memory<Tiles>();
  float d[kColumns / 2] = {};
  warpgroup_mma<false>(d, a, matrix_descriptor(&tiles.b));
  warpgroup_commit();
  warpgroup_wait<0>();
}

template <bool b_along_n, Misuse misuse>
std::vector<float> run() {
  constexpr size_t kBytes = sizeof(float) * kTile * kColumns;
  auto* sums = static_cast<float*>(emulator::allocate_device(kBytes));
  try {
    launch<multiply<b_along_n, misuse>>(1, kWarpgroup, sizeof(Tiles), Stream{}, sums);
  } catch (...) {
    emulator::release_device(sums);
    throw;
  }
  const emulator::DeviceAccess access;
  std::vector<float> result(sums, sums + kTile * kColumns);
  emulator::release_device(sums);
  return result;
}

template <bool b_along_n>
void expect_product() {
  in_every_order([] {
    const std::vector<float> sums = run<b_along_n, Misuse::none>();
    for (int m = 0; m < kTile; ++m)
      for (int n = 0; n < kColumns; ++n) {
        float sum = 1;
        for (int k = 0; k < kTile; ++k) sum += element_a(m, k) * element_b(k, n);
        ASSERT_EQ(sums[static_cast<size_t>(m * kColumns + n)], sum) << m << " " << n;
      }
  });
}

TEST(Warpgroup, RowsAlongK) {
  expect_product<false>();
}
TEST(Warpgroup, RowsOfBAlongN) {
  expect_product<true>();
}

TEST(Warpgroup, OperandsMayNotChangeBeforeTheWait) {
  // The race checker may see it first, from the other side.
  const std::string message = error_of([] { run<false, Misuse::overwrite>(); });
  EXPECT_TRUE(message.find("operands of wgmma changed") != std::string::npos ||
              message.find("data race") != std::string::npos)
      << message;
}
TEST(Warpgroup, Descriptors) {
  const auto message = [](uint64_t a) {
    return error_of([&] { launch<multiply_by>(1, kWarpgroup, sizeof(Tiles), Stream{}, a); });
  };
  constexpr uint64_t kSwizzle = uint64_t{1} << 62, kPatterns = uint64_t{64} << 32;
  EXPECT_REPORT(message(kPatterns), "only 128-byte swizzling");
  EXPECT_REPORT(message(kSwizzle | kPatterns | uint64_t{1} << 49), "without base offset");
  EXPECT_REPORT(message(kSwizzle | kPatterns | uint64_t{1} << 14), "only 128-byte swizzling");
  EXPECT_REPORT(message(kSwizzle | kPatterns | (sizeof(Tiles) - 1024) / 16), "of shared memory");
}
TEST(Warpgroup, ProductsMustBeWaitedFor) {
  EXPECT_REPORT(error_of([] { run<false, Misuse::no_wait>(); }), "without waiting for its wgmma");
}

}  // namespace
}  // namespace diffscm::kernels::emu
