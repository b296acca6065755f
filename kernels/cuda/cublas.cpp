// The few functions of cuBLAS that a matrix product needs are declared here and fetched with
// dlopen: neither its headers nor its library are needed to build, and none has to be there to run.
#include "kernels/cuda/cublas.h"

#include <dlfcn.h>

#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "kernels/cuda/library_folders.h"
#include "kernels/cuda/runtime.h"

namespace diffscm::kernels::cuda::cublas {
namespace {

// cublas_api.h, versions 12 and 13.
using Handle = void*;
using Status = int;
constexpr Status kSuccess = 0;
constexpr int kNotTransposed = 0, kTransposed = 1;
constexpr int kCompute32F = 68, kDefaultAlgorithm = -1;
constexpr int kDefaultMath = 0, kNoReducedPrecisionSums = 16;
using Create = Status(Handle*);
using SetStream = Status(Handle, cudaStream_t);
using SetWorkspace = Status(Handle, void*, size_t);
using SetMathMode = Status(Handle, int);
using StatusString = const char*(Status);
using GemmEx = Status(Handle, int transa, int transb, int64_t m, int64_t n, int64_t k,
                      const void* alpha, const void* a, cudaDataType a_type, int64_t lda,
                      const void* b, cudaDataType b_type, int64_t ldb, const void* beta, void* c,
                      cudaDataType c_type, int64_t ldc, int compute, int algorithm);

constexpr size_t kWorkspace = 32 << 20;  // what cuBLAS recommends for Hopper

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

struct Library {
  void* file = nullptr;
  std::string searched;
  Create* create;
  SetStream* set_stream;
  SetWorkspace* set_workspace;
  SetMathMode* set_math_mode;
  StatusString* status_string;
  GemmEx* gemm_ex;

  Library() {
    for (const std::string& folder : library_folders("DIFFSCM_CUBLAS", "nvidia/cu*/lib")) {
      const bool is_file = folder.find(".so") != std::string::npos;
      searched += (searched.empty() ? "" : ", ") + (folder.empty() ? "the loader's path" : folder);
      if (is_file && open(folder)) return;
      for (const char* version : {"13", "12"}) {
        if (is_file) break;
        const std::string prefix = folder.empty() ? "" : folder + "/";
        // The library needs its other half, which need not be on the loader's path.
        dlopen((prefix + "libcublasLt.so." + version).c_str(), RTLD_NOW | RTLD_GLOBAL);
        if (open(prefix + "libcublas.so." + version)) return;
      }
    }
  }

  bool open(const std::string& path) {
    file = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (file == nullptr) return false;
    const bool complete =
        fetch(create, "cublasCreate_v2") && fetch(set_stream, "cublasSetStream_v2") &&
        fetch(set_workspace, "cublasSetWorkspace_v2") &&
        fetch(set_math_mode, "cublasSetMathMode") &&
        fetch(status_string, "cublasGetStatusString") && fetch(gemm_ex, "cublasGemmEx_64");
    if (!complete) file = nullptr;  // older than version 12
    return complete;
  }

  template <class F>
  bool fetch(F*& function, const char* name) {
    function = reinterpret_cast<F*>(dlsym(file, name));
    return function != nullptr;
  }

  void check(Status status, std::string_view what) const {
    require(status == kSuccess, "cuBLAS: {}: {}", what, status_string(status));
  }
};

const Library& library() {
  static const Library loaded;
  return loaded;
}

// A handle with workspace of its own, so that recorded graphs hold nothing that cuBLAS allocated
// on the way. One per stream: products on different streams may overlap.
Handle create_handle(cudaStream_t stream) {
  const Library& lib = library();
  // Allocating is allowed while a graph is recorded if this thread asks for no protection.
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  cuda::check(cudaThreadExchangeStreamCaptureMode(&mode), "preparing cuBLAS");
  Handle handle = nullptr;
  void* workspace = nullptr;
  const Status created = lib.create(&handle);
  const cudaError_t allocated = cudaMalloc(&workspace, kWorkspace);
  cuda::check(cudaThreadExchangeStreamCaptureMode(&mode), "preparing cuBLAS");
  lib.check(created, "creating a handle");
  cuda::check(allocated, "allocating cuBLAS's workspace");
  lib.check(lib.set_stream(handle, stream), "setting the stream");
  lib.check(lib.set_workspace(handle, workspace, kWorkspace), "setting the workspace");
  lib.check(lib.set_math_mode(handle, kDefaultMath | kNoReducedPrecisionSums),
            "setting the arithmetic");
  return handle;
}

Handle handle_for(Stream stream) {
  static std::mutex mutex;
  static std::unordered_map<cudaStream_t, Handle> handles;
  const std::lock_guard lock(mutex);
  Handle& handle = handles[cuda_stream(stream)];
  if (handle == nullptr) handle = create_handle(cuda_stream(stream));
  return handle;
}

}  // namespace

std::string unusable() {
  if (library().file != nullptr) return "";
  return fmt::format(
      "cuBLAS: no usable libcublas.so.13 or .12 in {}; set DIFFSCM_CUBLAS to its folder, or "
      "DIFFSCM_GEMM=own",
      library().searched);
}

bool chosen() {
  static const bool answer = [] {
    const auto wish = environment("DIFFSCM_GEMM");
    require(wish.empty() || wish == "own" || wish == "cublas",
            "DIFFSCM_GEMM={}: unknown, choose own or cublas", wish);
    if (wish != "cublas") return false;
    if (const std::string reason = unusable(); !reason.empty()) fail("{}", reason);
    return true;
  }();
  return answer;
}

// cuBLAS counts columns first: seen that way every row-major matrix is its transpose, and
// c' = op(b)' op(a)'.
void multiply(const Product& p, Stream stream) {
  const auto type = [](Type t) { return t == Type::f32 ? CUDA_R_32F : CUDA_R_16BF; };
  const float one = 1.0f, beta = p.accumulate ? 1.0f : 0.0f;
  const Library& lib = library();
  lib.check(lib.gemm_ex(handle_for(stream), p.transpose_b ? kTransposed : kNotTransposed,
                        p.transpose_a ? kTransposed : kNotTransposed, p.n, p.m, p.k, &one, p.b,
                        type(p.in), p.ldb, p.a, type(p.in), p.lda, &beta, p.c, type(p.out), p.ldc,
                        kCompute32F, kDefaultAlgorithm),
            fmt::format("a product of m={} n={} k={}", p.m, p.n, p.k));
}

}  // namespace diffscm::kernels::cuda::cublas
