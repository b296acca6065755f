// The functions are those of the legacy interface (cudnnConvolutionForward and its transposes),
// fetched with dlopen: the header is needed to build this file, the library only to run it.
#include "kernels/cuda/cudnn.h"

#include "kernels/cuda/runtime.h"

#ifndef DIFFSCM_WITH_CUDNN

namespace diffscm::kernels::cuda::cudnn {

std::string unusable() {
  return "cuDNN: this program was built without cudnn.h; set CUDNN_INCLUDE_DIR and build again";
}
void run(const Convolution&, Stream) {
  fail("{}", unusable());
}

}  // namespace diffscm::kernels::cuda::cudnn

#else

#include <cudnn.h>
#include <dlfcn.h>

#include <map>
#include <mutex>
#include <tuple>
#include <type_traits>

#include "kernels/cuda/library_folders.h"

namespace diffscm::kernels::cuda::cudnn {
namespace {

constexpr size_t kSearchWorkspace = size_t{1} << 29;  // algorithms that want more are not tried

// DIFFSCM_CUDNN_FUNCTIONS(X) calls X(name) for each function that is used.
#define DIFFSCM_CUDNN_FUNCTIONS(X)                 \
  X(cudnnCreate)                                   \
  X(cudnnSetStream)                                \
  X(cudnnGetErrorString)                           \
  X(cudnnCreateTensorDescriptor)                   \
  X(cudnnSetTensor4dDescriptor)                    \
  X(cudnnCreateFilterDescriptor)                   \
  X(cudnnSetFilter4dDescriptor)                    \
  X(cudnnCreateConvolutionDescriptor)              \
  X(cudnnSetConvolution2dDescriptor)               \
  X(cudnnSetConvolutionMathType)                   \
  X(cudnnFindConvolutionForwardAlgorithmEx)        \
  X(cudnnFindConvolutionBackwardDataAlgorithmEx)   \
  X(cudnnFindConvolutionBackwardFilterAlgorithmEx) \
  X(cudnnConvolutionForward)                       \
  X(cudnnConvolutionBackwardData)                  \
  X(cudnnConvolutionBackwardFilter)

struct Library {
  std::string searched;
  bool loaded = false;
#define X(name) decltype(&::name) name = nullptr;
  DIFFSCM_CUDNN_FUNCTIONS(X)
#undef X

  Library() {
    for (const std::string& folder : library_folders("DIFFSCM_CUDNN", "nvidia/cudnn/lib")) {
      searched += (searched.empty() ? "" : ", ") + (folder.empty() ? "the loader's path" : folder);
      std::string path = folder;
      if (folder.find(".so") == std::string::npos)
        path += folder.empty() ? "libcudnn.so.9" : "/libcudnn.so.9";
      if (open(path)) return;
    }
  }

  bool open(const std::string& path) {
    void* file = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (file == nullptr) return false;
    loaded = true;
#define X(name)                                                \
  name = reinterpret_cast<decltype(name)>(dlsym(file, #name)); \
  loaded = loaded && name != nullptr;
    DIFFSCM_CUDNN_FUNCTIONS(X)
#undef X
    return loaded;
  }
};

const Library& library() {
  static const Library loaded;
  return loaded;
}

void check(cudnnStatus_t status, const char* what) {
  require(status == CUDNN_STATUS_SUCCESS, "cuDNN: {}: {}", what,
          library().cudnnGetErrorString(status));
}

cudnnHandle_t handle_for(Stream stream) {
  static std::map<cudaStream_t, cudnnHandle_t> handles;
  cudnnHandle_t& handle = handles[cuda_stream(stream)];
  if (handle == nullptr) {
    check(library().cudnnCreate(&handle), "creating a handle");
    check(library().cudnnSetStream(handle, cuda_stream(stream)), "setting the stream");
  }
  return handle;
}

// The descriptors of a convolution and the algorithm that was fastest. Kept until the program ends.
struct Plan {
  cudnnTensorDescriptor_t x, y;
  cudnnFilterDescriptor_t weight;
  cudnnConvolutionDescriptor_t convolution;
  int algorithm = 0;
  size_t workspace = 0;

  explicit Plan(const Convolution& c) {
    const Library& lib = library();
    const ConvShape& s = c.shape;
    const auto type = c.type == Type::f32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16;
    const auto i = [](int64_t size) { return static_cast<int>(size); };
    check(lib.cudnnCreateTensorDescriptor(&x), "describing x");
    check(lib.cudnnCreateTensorDescriptor(&y), "describing y");
    check(lib.cudnnCreateFilterDescriptor(&weight), "describing the filter");
    check(lib.cudnnCreateConvolutionDescriptor(&convolution), "describing the convolution");
    check(
        lib.cudnnSetTensor4dDescriptor(x, CUDNN_TENSOR_NHWC, type, i(s.n), i(s.c0), i(s.h), i(s.w)),
        "describing x");
    check(lib.cudnnSetTensor4dDescriptor(y, CUDNN_TENSOR_NHWC, type, i(s.n), i(s.k), i(s.p()),
                                         i(s.q())),
          "describing y");
    check(lib.cudnnSetFilter4dDescriptor(weight, type, CUDNN_TENSOR_NHWC, i(s.k), i(s.c0), i(s.r),
                                         i(s.s)),
          "describing the filter");
    check(
        lib.cudnnSetConvolution2dDescriptor(convolution, i(s.r / 2), i(s.s / 2), s.stride, s.stride,
                                            1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
        "describing the convolution");
    set_math(c.type == Type::f32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH);
  }

  void set_math(cudnnMathType_t math) {
    check(library().cudnnSetConvolutionMathType(convolution, math), "setting the arithmetic");
  }

  // `find(results, capacity, count)` is one of the three functions that time every algorithm; it
  // returns them sorted, fastest first.
  template <class Result, class Find>
  void choose(const Convolution& c, Find find) {
    constexpr int kCapacity = 16;
    Result results[kCapacity];
    int count = 0;
    check(find(results, kCapacity, &count), "timing its algorithms");
    for (int i = 0; i < count; ++i) {
      const Result& result = results[i];
      const bool wrong_math = c.type == Type::f32 && result.mathType != CUDNN_FMA_MATH &&
                              result.mathType != CUDNN_DEFAULT_MATH;
      if (result.status != CUDNN_STATUS_SUCCESS || wrong_math) continue;
      algorithm = static_cast<int>(result.algo);
      workspace = result.memory;
      if (c.type == Type::bf16) set_math(result.mathType);
      return;
    }
    const ConvShape& s = c.shape;
    fail("cuDNN: no algorithm for n={} {}x{} c={} k={} {}x{} stride {} in {}", s.n, s.h, s.w, s.c0,
         s.k, s.r, s.s, s.stride, c.type == Type::f32 ? "f32" : "bf16");
  }

  void search(const Convolution& c, Stream stream) {
    const Library& lib = library();
    const cudnnHandle_t handle = handle_for(stream);
    void* space = cuda::workspace(kSearchWorkspace, stream);
    switch (c.pass) {
      case Pass::forward:
        return choose<cudnnConvolutionFwdAlgoPerf_t>(c, [&](auto* results, int n, int* count) {
          return lib.cudnnFindConvolutionForwardAlgorithmEx(handle, x, c.x, weight, c.weight,
                                                            convolution, y, c.y, n, count, results,
                                                            space, kSearchWorkspace);
        });
      case Pass::backward_input:
        return choose<cudnnConvolutionBwdDataAlgoPerf_t>(c, [&](auto* results, int n, int* count) {
          return lib.cudnnFindConvolutionBackwardDataAlgorithmEx(handle, weight, c.weight, y, c.y,
                                                                 convolution, x, c.x, n, count,
                                                                 results, space, kSearchWorkspace);
        });
      case Pass::backward_weight:
        return choose<cudnnConvolutionBwdFilterAlgoPerf_t>(
            c, [&](auto* results, int n, int* count) {
              return lib.cudnnFindConvolutionBackwardFilterAlgorithmEx(
                  handle, x, c.x, y, c.y, convolution, weight, c.weight, n, count, results, space,
                  kSearchWorkspace);
            });
    }
  }

  void run(const Convolution& c, Stream stream) const {
    const Library& lib = library();
    const cudnnHandle_t handle = handle_for(stream);
    void* space = cuda::workspace(workspace, stream);
    const float one = 1.0f, zero = 0.0f;
    switch (c.pass) {
      case Pass::forward:
        return check(
            lib.cudnnConvolutionForward(handle, &one, x, c.x, weight, c.weight, convolution,
                                        static_cast<cudnnConvolutionFwdAlgo_t>(algorithm), space,
                                        workspace, &zero, y, c.y),
            "forward");
      case Pass::backward_input:
        return check(
            lib.cudnnConvolutionBackwardData(handle, &one, weight, c.weight, y, c.y, convolution,
                                             static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm),
                                             space, workspace, &zero, x, c.x),
            "backward to input");
      case Pass::backward_weight:
        return check(lib.cudnnConvolutionBackwardFilter(
                         handle, &one, x, c.x, y, c.y, convolution,
                         static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm), space, workspace,
                         &zero, weight, c.weight),
                     "backward to weights");
    }
  }
};

}  // namespace

std::string unusable() {
  const Library& lib = library();
  if (lib.loaded) return "";
  return fmt::format("cuDNN: no usable libcudnn.so.9 in {}; set DIFFSCM_CUDNN to its folder",
                     lib.searched);
}

void run(const Convolution& c, Stream stream) {
  if (const std::string reason = unusable(); !reason.empty()) fail("{}", reason);
  const ConvShape& s = c.shape;
  require(supports(s), "cuDNN: c1={} upsample={}: only one input, not enlarged, is supported", s.c1,
          s.upsample);
  static std::mutex mutex;
  static std::map<std::tuple<Pass, Type, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int>,
                  Plan>
      plans;
  const std::lock_guard lock(mutex);
  const std::tuple key{c.pass, c.type, s.n, s.h, s.w, s.c0, s.k, s.r, s.stride};
  auto found = plans.find(key);
  if (found == plans.end()) {
    Plan plan(c);
    plan.search(c, stream);
    found = plans.emplace(key, plan).first;
  }
  found->second.run(c, stream);
}

}  // namespace diffscm::kernels::cuda::cudnn

#endif
