// cuBLAS for plain matrix products on the target cuda, loaded when the program runs: one binary
// works with it and without.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/operators.h"

namespace diffscm::kernels::cuda::cublas {

// Whether matrix products go through cuBLAS: only with DIFFSCM_GEMM=cublas, because there the bits
// of a row depend on how many rows there are, and results would depend on whether the library is
// installed. Throws Error when it is asked for and cannot be used.
bool chosen();

// Empty, or why cuBLAS cannot be used: one line that names every place where it was looked for.
// That is where DIFFSCM_CUBLAS says (the library file, or its folder) or else the loader's path,
// the CUDA toolkit and Python's packages.
std::string unusable();

enum class Type { f32, bf16 };

// c = op(a) op(b), or c += with accumulate: row-major, as in kernels/matmul.h. Sums in f32 (no
// TF32, no bf16 partial sums). The same shapes give the same bits, but a row's bits may depend on
// the number of rows.
struct Product {
  int64_t m, n, k;
  const void* a;
  int64_t lda;
  bool transpose_a;
  const void* b;
  int64_t ldb;
  bool transpose_b;
  void* c;
  int64_t ldc;
  Type in, out;
  bool accumulate;
};
void multiply(const Product& product, Stream stream);

}  // namespace diffscm::kernels::cuda::cublas
