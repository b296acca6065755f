// A product of plain operands by a warpgroup, for both compilers: the emulator's tests have it, and
// those of the device in software, by way of nvcc.
#pragma once

#include "kernels/cuda/device/cuda.h"
#include "kernels/cuda/device/wgmma.h"
#include "tests/emulator/product_elements.h"

namespace diffscm::kernels::DIFFSCM_TARGET::test {

// Where the operands lie: A is 64 x 32, B is 32 x columns. Nothing begins at a multiple of 128
// bytes, or is as far apart as the other operand's or, the other way round, its own.
template <int columns>
struct PlainOperands {
  static constexpr int kRows = 64, kInner = 32, kFirstA = 48;
  static constexpr int kRowsApartA = 144, kApartA = kRows / 8 * kRowsApartA + 32;
  static constexpr int kFirstB = kFirstA + kInner / 8 * kApartA;
  static constexpr int kRowsApartB = 160, kApartB = columns / 8 * kRowsApartB + 48;
  static constexpr int kBytes = kFirstB + kInner / 8 * kApartB;

  alignas(16) unsigned char bytes[kBytes];

  __device__ bf16& a(int m, int k) {
    return at(kFirstA + m / 8 * kRowsApartA + k / 8 * kApartA, m, k);
  }
  __device__ bf16& b(int k, int n) {
    return at(kFirstB + n / 8 * kRowsApartB + k / 8 * kApartB, n, k);
  }

 private:
  __device__ bf16& at(int core, int row, int k) {
    return *reinterpret_cast<bf16*>(bytes + core + row % 8 * 16 + k % 8 * 2);
  }
};

// Writes a thread's sums of a 64 x 2 count tile.
template <int count>
__device__ void store_sums(float* sums, const float (&d)[count]) {
  const int t = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int i = 0; i < count; ++i) {
    const int row = t / 32 * 16 + t % 32 / 4 + (i % 4 >= 2 ? 8 : 0);
    const int column = i / 4 * 8 + t % 4 * 2 + i % 2;
    sums[row * 2 * count + column] = d[i];
  }
}

// sums[m][n] = 1 + the product of product_elements.h, over k < 32.
template <int columns>
__global__ void multiply_plain(float* sums) {
  follow_previous_kernel();
  using Operands = PlainOperands<columns>;
  auto& operands = swizzled_shared_memory<Operands>();
  const int t = static_cast<int>(threadIdx.x);
  for (int i = t; i < Operands::kRows * Operands::kInner; i += kWarpgroup) {
    const int m = i / Operands::kInner, k = i % Operands::kInner;
    operands.a(m, k) = to_bf16(kernels::test::element_a(m, k));
  }
  for (int i = t; i < columns * Operands::kInner; i += kWarpgroup) {
    const int n = i / Operands::kInner, k = i % Operands::kInner;
    operands.b(k, n) = to_bf16(kernels::test::element_b(k, n));
  }
  async_proxy_fence();
  __syncthreads();
  float d[columns / 2];
#pragma unroll
  for (float& x : d) x = 1;
  arrived(d);
  const uint64_t a = plain_descriptor(operands.bytes + Operands::kFirstA, Operands::kApartA,
                                      Operands::kRowsApartA);
  const uint64_t b = plain_descriptor(operands.bytes + Operands::kFirstB, Operands::kApartB,
                                      Operands::kRowsApartB);
  warpgroup_fence();
#pragma unroll
  for (int step = 0; step < Operands::kInner / 16; ++step)
    warpgroup_mma<false>(d, a + step * 2 * Operands::kApartA / 16,
                         b + step * 2 * Operands::kApartB / 16);
  warpgroup_commit();
  warpgroup_wait<0>();
  arrived(d);
  store_sums(sums, d);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET::test
