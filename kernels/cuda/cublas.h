// cuBLAS for plain matrix products on the target cuda, loaded when the program runs: one binary
// works with it and without.
#pragma once

#include <cstdint>

#include "kernels/operators.h"

namespace diffscm::kernels::cuda::cublas {

// Whether matrix products should go through cuBLAS: yes if it can be loaded, unless
// DIFFSCM_GEMM=own. It is looked for where DIFFSCM_CUBLAS says (the library file, or its folder) or
// else on the loader's path, in the CUDA toolkit and in Python's packages. With DIFFSCM_GEMM=cublas
// or DIFFSCM_CUBLAS set, not finding it is an Error that names every place searched.
bool preferred();

// Creates what a product on this stream needs. multiply() does it too, but not every CUDA version
// allows it while a graph is being recorded.
void prepare(Stream stream);

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
