// Matrix product with the epilogue that a linear layer needs, and the column sum of its bias
// gradient.
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"

namespace diffscm::kernels {

// c[m,n] = sum_k opA(a)[m,k] * opB(b)[k,n] + bias[n] + residual[m,n]   (row-major)
// opA(a) is a[m*lda + k], or a[k*lda + m] when transpose_a; likewise b. residual is laid out like c
// and may be c itself (accumulation). Every element of the M x N block of c is written, nothing
// else of a row longer than N. A linear layer y = x W^T + b is: a = x, b = W [out, in],
// transpose_b. T and U are float or bf16, accumulation is f32; U = float with T = bf16 serves
// weight gradients.
template <class T, class U = T>
struct BasicMatmulArgs {
  int64_t m, n, k;
  const T* a;
  int64_t lda;
  bool transpose_a;
  const T* b;
  int64_t ldb;
  bool transpose_b;
  const float* bias;  // [N] or null
  const U* residual;  // [M, N] with leading dimension ldc, or null
  U* c;
  int64_t ldc;
};
using MatmulArgs = BasicMatmulArgs<float>;
template <class T, class U>
void check(const BasicMatmulArgs<T, U>&);

// y[c] = sum_r x[r, c]. Fixed summation order: bit-reproducible.
template <class T>
struct BasicColumnSumArgs {
  int64_t rows, columns;
  const T* x;  // [rows, columns]
  float* y;    // [columns]
};
using ColumnSumArgs = BasicColumnSumArgs<float>;
template <class T>
void check(const BasicColumnSumArgs<T>&);

}  // namespace diffscm::kernels
