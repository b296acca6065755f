#include "kernels/cuda/runtime.h"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "kernels/error.h"

namespace diffscm::kernels::cuda {
namespace {

bool sync_each_launch() {
  static const bool sync = [] {
    const char* value = std::getenv("DIFFSCM_SYNC");
    return value != nullptr && std::string_view(value) == "1";
  }();
  return sync;
}

int attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

}  // namespace

void check(cudaError_t status, std::string_view what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // a refused call must not be reported again by the next one
  fail("{}: {} ({})", what, cudaGetErrorString(status), cudaGetErrorName(status));
}

cudaStream_t cuda_stream(Stream stream) {
  if (stream.handle != nullptr) return static_cast<cudaStream_t>(stream.handle);
  static const cudaStream_t standard = [] {
    cudaStream_t created = nullptr;
    check(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking), "creating a stream");
    return created;
  }();
  return standard;
}

bool recording(Stream stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(cuda_stream(stream), &status), "asking whether a step is recorded");
  return status != cudaStreamCaptureStatusNone;
}

// Not checked: were it refused, the call that it is for would be too, and say so.
AnyCallAllowed::AnyCallAllowed() {
  cudaThreadExchangeStreamCaptureMode(&mode_);
}
AnyCallAllowed::~AnyCallAllowed() {
  cudaThreadExchangeStreamCaptureMode(&mode_);
}

size_t most_shared_memory() {
  static const auto limit = static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  return limit;
}

void allow_shared_memory(const void* kernel, size_t bytes) {
  constexpr size_t kWithoutAsking = 48 * 1024;
  if (bytes <= kWithoutAsking) return;
  static std::mutex mutex;
  static std::unordered_map<const void*, size_t> allowed;
  const std::lock_guard lock(mutex);
  size_t& have = allowed[kernel];
  if (bytes <= have) return;
  const size_t limit = most_shared_memory();
  require(bytes <= limit, "a kernel asks for {} bytes of shared memory; this device has {}", bytes,
          limit);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        "raising a kernel's shared memory");
  have = bytes;
}

bool may_start_early(const void* kernel) {
  static const bool overlap = [] {
    int driver = 0;
    check(cudaDriverGetVersion(&driver), "asking for the driver's version");
    return driver >= 12030 && attribute(cudaDevAttrComputeCapabilityMajor) >= 9;
  }();
  if (!overlap) return false;
  const AnyCallAllowed allowed;
  cudaFuncAttributes of{};
  if (cudaFuncGetAttributes(&of, kernel) == cudaSuccess) return of.ptxVersion >= 90;
  cudaGetLastError();  // its launch will say why
  return false;
}

int64_t most_early_blocks() {
  static const int64_t most = [] {
    const char* value = std::getenv("DIFFSCM_OVERLAP");
    if (value == nullptr) return int64_t{multiprocessors() / 4};
    int64_t wish = -1;
    const char* const end = value + std::strlen(value);
    const auto [rest, error] = std::from_chars(value, end, wish);
    require(error == std::errc() && rest == end && wish >= 0,
            "DIFFSCM_OVERLAP={}: not a number of blocks; 0 is none", value);
    return wish;
  }();
  return most;
}

void check_launch(cudaError_t status, std::string_view kernel, Stream stream) {
  if (status != cudaSuccess) check(status, fmt::format("launching kernel {}", kernel));
  if (sync_each_launch() && !recording(stream))
    check(cudaStreamSynchronize(cuda_stream(stream)), fmt::format("running kernel {}", kernel));
}

// Declared in device/wgmma.h.
bool has_wgmma() {
  static const bool has = attribute(cudaDevAttrComputeCapabilityMajor) == 9 &&
                          attribute(cudaDevAttrComputeCapabilityMinor) == 0;
  return has;
}

int multiprocessors() {
  static const int count = attribute(cudaDevAttrMultiProcessorCount);
  return count;
}

void* workspace(size_t bytes, Stream stream) {
  // Outgrown blocks are kept: recorded graphs may still point at them.
  struct Block {
    void* data = nullptr;
    size_t bytes = 0;
  };
  static std::mutex mutex;
  static std::unordered_map<cudaStream_t, Block> blocks;
  const std::lock_guard lock(mutex);
  Block& block = blocks[cuda_stream(stream)];
  if (bytes > block.bytes) {
    void* data = nullptr;
    const AnyCallAllowed allowed;
    const size_t size = std::max(2 * block.bytes, std::max<size_t>(bytes, 1 << 20));
    check(cudaMalloc(&data, size), fmt::format("allocating {} MiB of workspace", size >> 20));
    block = {data, size};
  }
  return block.data;
}

}  // namespace diffscm::kernels::cuda
