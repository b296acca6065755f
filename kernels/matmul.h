// Matrix product with the epilogue that a linear layer needs, and the column sum of its bias
// gradient.
#pragma once

#include <cstdint>

namespace diffscm::kernels {

// c[m,n] = sum_k opA(a)[m,k] * opB(b)[k,n] + bias[n] + residual[m,n]   (row-major)
// opA(a) is a[m*lda + k], or a[k*lda + m] when transpose_a; likewise b. residual is laid out like c
// and may be c itself (accumulation). Every element of the M x N block of c is written, nothing
// else of a row longer than N. A linear layer y = x W^T + b is: a = x, b = W [out, in],
// transpose_b.
struct MatmulArgs {
  int64_t m, n, k;
  const float* a;
  int64_t lda;
  bool transpose_a;
  const float* b;
  int64_t ldb;
  bool transpose_b;
  const float* bias;      // [N] or null
  const float* residual;  // [M, N] with leading dimension ldc, or null
  float* c;
  int64_t ldc;
};

// y[c] = sum_r x[r, c]. Fixed summation order: bit-reproducible.
struct ColumnSumArgs {
  int64_t rows, columns;
  const float* x;  // [rows, columns]
  float* y;        // [columns]
};

}  // namespace diffscm::kernels
