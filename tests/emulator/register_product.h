// A product by a warpgroup with A in registers and B along its columns, for both compilers, as
// plain_product.h has one of plain operands.
#pragma once

#include "tests/emulator/plain_product.h"

namespace diffscm::kernels::DIFFSCM_TARGET::test {

// Where B lies, 32 x columns: a row for each k, of 64 columns; those of the next 64 columns begin
// behind a pattern that belongs to neither.
template <int columns>
struct RowsOfB {
  static constexpr int kInner = 32, kApart = kInner + 8;
  SwizzledRows<columns / 64 * kApart> rows;
};

// sums[m][n] = 1 + the product of product_elements.h, over k < 32.
template <int columns>
__global__ void multiply_of_registers(float* sums) {
  follow_previous_kernel();
  using Rows = RowsOfB<columns>;
  auto& b = swizzled_shared_memory<Rows>();
  const int t = static_cast<int>(threadIdx.x);
  for (int i = t; i < columns * Rows::kInner; i += kWarpgroup) {
    const int n = i / Rows::kInner, k = i % Rows::kInner;
    b.rows.chunk(n / 64 * Rows::kApart + k, n % 64 / 8)[n % 8] =
        to_bf16(kernels::test::element_b(k, n));
  }
  async_proxy_fence();
  __syncthreads();
  uint32_t a[Rows::kInner / 16][4];
#pragma unroll
  for (int step = 0; step < Rows::kInner / 16; ++step)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int m = t / 32 * 16 + t % 32 / 4 + i % 2 * 8, k = step * 16 + t % 4 * 2 + i / 2 * 8;
      a[step][i] = pack_bf16(kernels::test::element_a(m, k), kernels::test::element_a(m, k + 1));
    }
  float d[columns / 2];
#pragma unroll
  for (float& x : d) x = 1;
  arrived(d);
  const uint64_t first = matrix_descriptor(&b, Rows::kApart * 128);
  warpgroup_fence();
#pragma unroll
  for (int step = 0; step < Rows::kInner / 16; ++step)
    warpgroup_mma<true>(d, a[step], first + static_cast<uint64_t>(step) * 16 * 128 / 16);
  warpgroup_commit();
  warpgroup_wait<0>();
  arrived(d);
  store_sums(sums, d);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET::test
