// libcublas.so.13 of this device: the functions that kernels/cuda/cublas.cpp fetches, and no more.
// Sums are f32; an output of bf16 is rounded once, to nearest even, as cuBLAS rounds it. As with
// cuBLAS, the order of a sum depends on the shape: a small product adds up parts of k.
#include <library_types.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/softgpu/library_work.h"

using diffscm::kernels::bf16;
using diffscm::softgpu::Touched;

namespace {

// cublas_api.h.
enum Status {
  kSuccess = 0,
  kNotInitialized = 1,
  kAllocFailed = 3,
  kInvalidValue = 7,
  kExecutionFailed = 13,
  kNotSupported = 15
};
constexpr int kCompute32F = 68;

struct Context {
  cudaStream_t stream = nullptr;
  void* own = nullptr;  // cuBLAS allocates when a handle is made, which a recording may forbid
};
std::set<Context*> contexts;

struct Matrix {
  const void* data;
  cudaDataType type;
  int64_t rows, columns, stride;  // column-major
  bool transposed;

  bool valid() const {
    return (type == CUDA_R_32F || type == CUDA_R_16BF) && rows >= 0 && columns >= 0 &&
           stride >= rows && stride >= 1;
  }
  Touched touched() const {
    const int64_t elements = rows == 0 || columns == 0 ? 0 : stride * (columns - 1) + rows;
    return {data, static_cast<size_t>(elements) * (type == CUDA_R_32F ? 4 : 2)};
  }
  float at(int64_t row, int64_t column) const {
    if (transposed) std::swap(row, column);
    const int64_t i = row + column * stride;
    return type == CUDA_R_32F ? static_cast<const float*>(data)[i]
                              : to_float(static_cast<const bf16*>(data)[i]);
  }
  void set(int64_t row, int64_t column, float value) const {
    const int64_t i = row + column * stride;
    void* out = const_cast<void*>(data);
    if (type == CUDA_R_32F)
      static_cast<float*>(out)[i] = value;
    else
      static_cast<bf16*>(out)[i] = diffscm::kernels::to_bf16(value);
  }
};

// c = alpha a b + beta c, with c [m, n] and sums over k.
void multiply(const Matrix& a, const Matrix& b, const Matrix& c, int64_t k, float alpha,
              float beta) {
  const int64_t m = c.rows, n = c.columns;
  const int64_t part = n < 32 ? std::max<int64_t>(1, (k + 3) / 4) : k;
  std::vector<float> left(static_cast<size_t>(m * k));
  for (int64_t l = 0; l < k; ++l)
    for (int64_t i = 0; i < m; ++i) left[static_cast<size_t>(l * m + i)] = a.at(i, l);
  for (int64_t j = 0; j < n; ++j) {
    std::vector<float> sums(static_cast<size_t>(m)), of_part(static_cast<size_t>(m));
    for (int64_t l = 0; l < k; ++l) {
      const float factor = b.at(l, j);
      const float* column = left.data() + l * m;
      for (size_t i = 0; i < sums.size(); ++i) of_part[i] += column[i] * factor;
      if ((l + 1) % part != 0 && l + 1 != k) continue;
      for (size_t i = 0; i < sums.size(); ++i) sums[i] += std::exchange(of_part[i], 0.0f);
    }
    for (int64_t i = 0; i < m; ++i) {
      const float product = alpha * sums[static_cast<size_t>(i)];
      c.set(i, j, beta == 0 ? product : product + beta * c.at(i, j));
    }
  }
}

}  // namespace

extern "C" {

int cublasCreate_v2(void** handle) {
  auto context = std::make_unique<Context>();
  if (cudaMalloc(&context->own, 256) != cudaSuccess) return kAllocFailed;
  contexts.insert(context.get());
  *handle = context.release();
  return kSuccess;
}

int cublasDestroy_v2(void* handle) {
  auto* context = static_cast<Context*>(handle);
  if (contexts.erase(context) == 0) return kNotInitialized;
  const std::unique_ptr<Context> owned(context);
  return cudaFree(context->own) == cudaSuccess ? kSuccess : kExecutionFailed;
}

int cublasSetStream_v2(void* handle, cudaStream_t stream) {
  if (!contexts.contains(static_cast<Context*>(handle))) return kNotInitialized;
  static_cast<Context*>(handle)->stream = stream;
  return kSuccess;
}

// Nothing here needs any; on a GPU it has to be aligned to 256 bytes.
int cublasSetWorkspace_v2(void* handle, void* workspace, size_t) {
  if (!contexts.contains(static_cast<Context*>(handle))) return kNotInitialized;
  return reinterpret_cast<uintptr_t>(workspace) % 256 == 0 ? kSuccess : kInvalidValue;
}

// Modes allow less exact arithmetic; this is exact enough for all of them.
int cublasSetMathMode(void* handle, int) {
  return contexts.contains(static_cast<Context*>(handle)) ? kSuccess : kNotInitialized;
}

const char* cublasGetStatusString(int status) {
  switch (status) {
    case kSuccess:
      return "success";
    case kNotInitialized:
      return "this is no handle of cuBLAS's";
    case kAllocFailed:
      return "cuBLAS could not allocate memory";
    case kInvalidValue:
      return "an argument is invalid";
    case kNotSupported:
      return "softgpu's cuBLAS has no such types or operations";
    default:
      // This thread's last call of the runtime has the details.
      return cudaGetErrorString(cudaErrorInvalidValue);
  }
}

int cublasGemmEx_64(void* handle, int transa, int transb, int64_t m, int64_t n, int64_t k,
                    const void* alpha, const void* a, cudaDataType a_type, int64_t lda,
                    const void* b, cudaDataType b_type, int64_t ldb, const void* beta, void* c,
                    cudaDataType c_type, int64_t ldc, int compute, int) {
  if (!contexts.contains(static_cast<Context*>(handle))) return kNotInitialized;
  if (compute != kCompute32F || a_type != b_type || transa / 2 != 0 || transb / 2 != 0 ||
      (a_type == CUDA_R_32F && c_type != CUDA_R_32F))
    return kNotSupported;
  const Matrix left{a, a_type, transa ? k : m, transa ? m : k, lda, transa != 0};
  const Matrix right{b, b_type, transb ? n : k, transb ? k : n, ldb, transb != 0};
  const Matrix out{c, c_type, m, n, ldc, false};
  if (!left.valid() || !right.valid() || !out.valid()) return kInvalidValue;
  const float scale = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
  const cudaError_t status =
      diffscm::softgpu::queue_library_work("cublasGemmEx_64", static_cast<Context*>(handle)->stream,
                                           {left.touched(), right.touched(), out.touched()},
                                           [=] { multiply(left, right, out, k, scale, keep); });
  return status == cudaSuccess ? kSuccess : kExecutionFailed;
}

}  // extern "C"
