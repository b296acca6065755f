// wgmma on the emulator: which element is where, by the tables of the PTX ISA, and misuse.
#include <vector>

#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/wgmma.h"
#include "kernels/emulator/memory.h"
#include "tests/emulator/plain_product.h"
#include "tests/emulator/register_product.h"
#include "tests/emulator/support.h"

namespace diffscm::kernels::emu {
namespace {

using namespace test;
using kernels::test::element_a, kernels::test::element_b;

constexpr int kColumns = 128, kTile = 64;

struct Tiles {
  SwizzledRows<kTile> a;     // 64 x 64
  SwizzledRows<kColumns> b;  // 64 x 128: a row for each column, or for each k in two blocks
};

enum class Misuse { none, overwrite, no_wait };

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
  store_sums(sums, d);
}

// A product of what is described so.
template <bool b_along_n>
__global__ void multiply_by(uint64_t a, uint64_t b) {
  float d[kColumns / 2] = {};
  warpgroup_mma<b_along_n>(d, a, b);
  warpgroup_commit();
  warpgroup_wait<0>();
}

__global__ void describe(int first) {
  plain_descriptor(swizzled_shared_memory<Tiles>().a.at[0] + first, 1024);
}

template <auto kernel>
std::vector<float> run(size_t shared_bytes, int columns) {
  const auto count = static_cast<size_t>(kTile * columns);
  auto* sums = static_cast<float*>(emulator::allocate_device(sizeof(float) * count));
  try {
    launch<kernel>(1, kWarpgroup, shared_bytes, Stream{}, sums);
  } catch (...) {
    emulator::release_device(sums);
    throw;
  }
  const emulator::DeviceAccess access;
  std::vector<float> result(sums, sums + count);
  emulator::release_device(sums);
  return result;
}

template <auto kernel>
void expect_product(size_t shared_bytes, int columns, int inner) {
  in_every_order([=] {
    const std::vector<float> sums = run<kernel>(shared_bytes, columns);
    for (int m = 0; m < kTile; ++m)
      for (int n = 0; n < columns; ++n)
        ASSERT_EQ(sums[static_cast<size_t>(m * columns + n)],
                  1 + kernels::test::product(m, n, inner))
            << m << " " << n;
  });
}

TEST(Warpgroup, RowsAlongK) {
  expect_product<multiply<false, Misuse::none>>(sizeof(Tiles), kColumns, kTile);
}
TEST(Warpgroup, RowsOfBAlongN) {
  expect_product<multiply<true, Misuse::none>>(sizeof(Tiles), kColumns, kTile);
}

template <int columns>
void expect_plain_product() {
  SCOPED_TRACE(columns);
  expect_product<multiply_plain<columns>>(sizeof(PlainOperands<columns>), columns,
                                          PlainOperands<columns>::kInner);
}
TEST(Warpgroup, PlainOperands) {
  expect_plain_product<8>();
  expect_plain_product<32>();
  expect_plain_product<64>();
  expect_plain_product<128>();
  expect_plain_product<192>();
}

TEST(Warpgroup, AInRegisters) {
  expect_product<multiply_of_registers<128>>(sizeof(RowsOfB<128>), 128, RowsOfB<128>::kInner);
  expect_product<multiply_of_registers<192>>(sizeof(RowsOfB<192>), 192, RowsOfB<192>::kInner);
}

TEST(Warpgroup, OperandsMayNotChangeBeforeTheWait) {
  // The race checker may see it first, from the other side.
  const std::string message =
      error_of([] { run<multiply<false, Misuse::overwrite>>(sizeof(Tiles), kColumns); });
  EXPECT_TRUE(message.find("operands of wgmma changed") != std::string::npos ||
              message.find("data race") != std::string::npos)
      << message;
}
TEST(Warpgroup, Descriptors) {
  constexpr uint64_t kSwizzle = uint64_t{1} << 62, kPatterns = uint64_t{64} << 32;
  constexpr uint64_t kEnd = (sizeof(Tiles) - 1024) / 16;
  const auto message = [](uint64_t a) {
    return error_of([&] {
      launch<multiply_by<false>>(1, kWarpgroup, sizeof(Tiles), Stream{}, a, kSwizzle | kPatterns);
    });
  };
  EXPECT_REPORT(message(kPatterns | uint64_t{2} << 62), "only 128-byte swizzling or none");
  EXPECT_REPORT(message(kPatterns | uint64_t{3} << 62), "only 128-byte swizzling or none");
  EXPECT_REPORT(message(kSwizzle | kPatterns | uint64_t{1} << 49), "without base offset");
  EXPECT_REPORT(message(kPatterns | uint64_t{1} << 49), "without base offset");
  EXPECT_REPORT(message(kSwizzle | kPatterns | uint64_t{1} << 14), "only 128-byte swizzling");
  EXPECT_REPORT(message(kSwizzle | kPatterns | kEnd), "of shared memory");
  EXPECT_REPORT(message(kPatterns | kEnd), "of shared memory");
  const std::string along_n = error_of([=] {
    launch<multiply_by<true>>(1, kWarpgroup, sizeof(Tiles), Stream{}, kSwizzle | kPatterns,
                              kPatterns);
  });
  EXPECT_REPORT(along_n, "B along its columns is emulated with 128-byte swizzling only");
}
TEST(Warpgroup, OperandsBeginAtMultiplesOf16Bytes) {
  const auto message = [](int first) {
    return error_of([&] { launch<describe>(1, 1, sizeof(Tiles), Stream{}, first); });
  };
  EXPECT_EQ(message(8), "");
  EXPECT_REPORT(message(4), "misaligned access: 16 bytes");
}
TEST(Warpgroup, ProductsMustBeWaitedFor) {
  EXPECT_REPORT(error_of([] { run<multiply<false, Misuse::no_wait>>(sizeof(Tiles), kColumns); }),
                "without waiting for its wgmma");
}

}  // namespace
}  // namespace diffscm::kernels::emu
