// The target cuda as the engine sees it: one device (the first that CUDA_VISIBLE_DEVICES leaves),
// one stream.
#include "kernels/runtime.h"

#include <fstream>

#include "kernels/cuda/runtime.h"
#include "kernels/cuda/transfer.h"
#include "kernels/error.h"
#include "kernels/targets.h"

namespace diffscm::kernels::cuda {
namespace {

constexpr int kDevice = 0;

std::string version_text(int version) {  // 13000 -> 13.0
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

// Source: "CUDA Toolkit and Corresponding Driver Versions" in the release notes of CUDA; within a
// major version any driver will do that serves its first release.
constexpr const char* kOldestDriver = CUDART_VERSION >= 13000 ? "580.65" : "525.60";

// " 535.129.03", or "" where the kernel's module does not say.
std::string driver_number() {
  std::ifstream file("/sys/module/nvidia/version");
  std::string number;
  return file >> number ? " " + number : "";
}

std::string unusable() {
  int driver = 0, count = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    cudaGetLastError();
    return "this machine has no NVIDIA driver";
  }
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (status == cudaErrorInsufficientDriver)
    return fmt::format(
        "the NVIDIA driver{} is too old: it supports CUDA {}, this program was built with CUDA {}, "
        "which needs driver {} or later; update the driver, or build with the toolkit of CUDA {}",
        driver_number(), version_text(driver), version_text(CUDART_VERSION), kOldestDriver,
        driver / 1000);
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0))
    return "no NVIDIA GPU was found (is CUDA_VISIBLE_DEVICES set?)";
  if (status != cudaSuccess)
    return fmt::format("the NVIDIA driver reports: {}", cudaGetErrorString(status));
  cudaDeviceProp device{};
  if (cudaGetDeviceProperties(&device, kDevice) != cudaSuccess) {
    cudaGetLastError();
    return "the properties of the NVIDIA GPU cannot be read";
  }
  if (device.major < 8)
    return fmt::format("{} has compute capability {}.{}, this program needs 8.0 or later",
                       device.name, device.major, device.minor);
  // The first call that makes a context: a device in exclusive use or a broken one shows here.
  if (const cudaError_t context = cudaSetDevice(kDevice); context != cudaSuccess) {
    cudaGetLastError();
    return fmt::format("{} cannot be used: {}", device.name, cudaGetErrorString(context));
  }
  return {};
}

DeviceMemory memory() {
  DeviceMemory m;
  check(cudaMemGetInfo(&m.free_bytes, &m.total_bytes), "asking for the device's memory");
  return m;
}

std::string describe() {
  cudaDeviceProp device{};
  int driver = 0;
  check(cudaGetDeviceProperties(&device, kDevice), "asking for the device's properties");
  check(cudaDriverGetVersion(&driver), "asking for the driver's version");
  return fmt::format("{}, compute capability {}.{}, {} multiprocessors, driver for CUDA {}",
                     device.name, device.major, device.minor, device.multiProcessorCount,
                     version_text(driver));
}

void* allocate(size_t bytes) {
  const AnyCallAllowed allowed;
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check(status, "allocating device memory");
  return block;
}

void release(void* block) {
  const AnyCallAllowed allowed;
  // Not checked: an earlier failure of the device, which shows here again, has been reported, and
  // destructors call this.
  if (cudaFree(block) != cudaSuccess) cudaGetLastError();
}

void copy(void* to, const void* from, size_t bytes, Copy direction, Stream stream) {
  if (bytes == 0) return;
  const cudaStream_t queue = cuda_stream(stream);
  if (direction == Copy::within) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, queue),
          "copying within the device");
    return;
  }
  require(!recording(stream),
          "target cuda: a copy {} the host cannot be recorded; do it before or after the step",
          direction == Copy::to_host ? "to" : "from");
  if (direction == Copy::to_device)
    copy_to_device(to, from, bytes, queue);
  else
    copy_to_host(to, from, bytes, queue);
}

void synchronize(Stream stream) {
  require(!recording(stream), "target cuda: a stream that is being recorded cannot be waited for");
  check(cudaStreamSynchronize(cuda_stream(stream)), "running on the device");
}

// Thread-local mode: other threads may go on using the device meanwhile.
void begin_recording(Stream stream) {
  check(cudaStreamBeginCapture(cuda_stream(stream), cudaStreamCaptureModeThreadLocal),
        "beginning to record a step");
}

Recording end_recording(Stream stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(cuda_stream(stream), &graph), "recording a step");
  require(graph != nullptr, "target cuda: the recording of a step broke off");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "preparing a recorded step");
  return {executable};
}

void replay(Recording recording, Stream stream) {
  require(recording.handle != nullptr, "target cuda: an empty recording cannot be replayed");
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(recording.handle), cuda_stream(stream)),
        "replaying a recorded step");
}

// A replay that is still under way finishes first (CUDA keeps the graph until then).
void discard(Recording recording) {
  if (recording.handle == nullptr) return;
  if (cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(recording.handle)) != cudaSuccess)
    cudaGetLastError();
}

}  // namespace

const Runtime& runtime() {
  static const Runtime table{
      .target = "cuda",
      .unusable = unusable,
      .describe = describe,
      .memory = memory,
      .allocate = allocate,
      .release = release,
      .copy = copy,
      .synchronize = synchronize,
      .begin_recording = begin_recording,
      .end_recording = end_recording,
      .replay = replay,
      .discard = discard,
  };
  return table;
}

}  // namespace diffscm::kernels::cuda
