// The two ways to multiply matrices, and what the launcher and the weight gradients of a
// convolution share with them: the sum over a split inner dimension.
#pragma once

#include "kernels/cuda/device/cuda.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// A product cut into `slices` slices of `length` along k: slice i is written without bias and
// residual at c + i * m * ldc. One slice of length k is the product itself.
struct Split {
  int slices;
  int64_t length;
};

// Any operands. Arguments have been checked.
template <class T, class U>
void matmul_tiled(const BasicMatmulArgs<T, U>& args, const Split& split, Stream stream);

// bf16 on tensor cores. Rows of a and b must be a multiple of 16 bytes long and apart.
template <class U>
void matmul_mma(const BasicMatmulArgs<bf16, U>& args, const Split& split, Stream stream);
template <class U>
bool matmul_mma_supports(const BasicMatmulArgs<bf16, U>& args) {
  const int64_t row_a = args.transpose_a ? args.m : args.k;
  const int64_t row_b = args.transpose_b ? args.k : args.n;
  return args.k > 0 && aligned16(args.a) && aligned16(args.b) &&
         (row_a | row_b | args.lda | args.ldb) % kVector<bf16> == 0;
}

// c[row, column] = sum_i partials[i][row, column] + bias[column] + residual[row, column]; partials
// are [slices, m, n], slices may be 0. bias and residual may be null, residual may be c. With
// `rest` each slice ends with m sums more, and rest[row] = sum_i partials[i][m n + row].
template <class U>
void sum_slices(const float* partials, int slices, int64_t m, int64_t n, const float* bias,
                const U* residual, U* c, int64_t ldc, Stream stream, float* rest = nullptr);

// Adds bias and residual to kWidth neighbouring elements of c and writes them; both may be null.
// Columns from n on do not exist. `vectored` says that the address allows one access.
template <int kWidth, class U>
__device__ inline void write_run(const float (&sums)[kWidth], int64_t column, int64_t n,
                                 const float* bias, const U* residual, U* c, bool vectored) {
  if (vectored && column + kWidth <= n) {
    float x[kWidth];
#pragma unroll
    for (int i = 0; i < kWidth; ++i) x[i] = bias ? sums[i] + bias[column + i] : sums[i];
    if (residual) {
      const auto r = load<kWidth>(residual);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) x[i] += to_float(r[i]);
    }
    store(c, from_floats<U>(x));
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      if (column + i >= n) break;
      float x = sums[i];
      if (bias) x += bias[column + i];
      if (residual) x += to_float(residual[i]);
      c[i] = from_float<U>(x);
    }
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
