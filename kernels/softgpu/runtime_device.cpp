// The CUDA runtime's functions that say what the device is.
#include <algorithm>

#include "kernels/softgpu/driver.h"

using namespace diffscm::softgpu;

namespace {

void check_device(int number) {
  demand(number == 0, cudaErrorInvalidDevice, "device {}: there is one, 0", number);
}

// Of those that the runtime can be asked for one by one; what is not here, nobody has needed.
int attribute(const Device& d, cudaDeviceAttr which) {
  switch (which) {
    case cudaDevAttrMaxThreadsPerBlock:
      return kMaxThreadsPerBlock;
    case cudaDevAttrWarpSize:
      return kWarp;
    case cudaDevAttrMultiProcessorCount:
      return d.multiprocessors;
    case cudaDevAttrComputeCapabilityMajor:
      return d.major;
    case cudaDevAttrComputeCapabilityMinor:
      return d.minor;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return kSharedWithoutAsking;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return static_cast<int>(d.shared_per_block_bytes);
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return static_cast<int>(d.shared_bytes);
    case cudaDevAttrReservedSharedMemoryPerBlock:
      return kReservedSharedPerBlock;
    case cudaDevAttrMaxRegistersPerMultiprocessor:
    case cudaDevAttrMaxRegistersPerBlock:
      return d.registers;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return d.threads;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      return d.blocks;
    case cudaDevAttrL2CacheSize:
      return static_cast<int>(d.l2_bytes);
    case cudaDevAttrClockRate:
      return static_cast<int>(d.clock_ghz * 1e6);
    default:
      refuse(cudaErrorNotSupported, "attribute {}: this device has no answer",
             static_cast<int>(which));
  }
}

}  // namespace

cudaError_t cudaDriverGetVersion(int* version) {
  *version = driver_version();
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  return call("cudaGetDeviceCount", [&](Driver&) { *count = 1; });
}

cudaError_t cudaGetDevice(int* number) {
  return call("cudaGetDevice", [&](Driver&) { *number = 0; });
}

cudaError_t cudaSetDevice(int number) {
  return call("cudaSetDevice", [&](Driver&) { check_device(number); });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int number) {
  return call("cudaDeviceGetAttribute", [&](Driver& d) {
    check_device(number);
    *value = attribute(d.device, which);
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int number) {
  return call("cudaGetDeviceProperties", [&](Driver& driver) {
    check_device(number);
    const Device& d = driver.device;
    cudaDeviceProp p{};
    const std::string name = fmt::format("{} in software (softgpu)", d.name);
    std::copy(name.begin(), name.end(), p.name);
    p.totalGlobalMem = driver.memory.capacity_bytes();
    p.sharedMemPerBlock = kSharedWithoutAsking;
    p.sharedMemPerBlockOptin = d.shared_per_block_bytes;
    p.sharedMemPerMultiprocessor = d.shared_bytes;
    p.reservedSharedMemPerBlock = kReservedSharedPerBlock;
    p.regsPerBlock = p.regsPerMultiprocessor = d.registers;
    p.warpSize = kWarp;
    p.maxThreadsPerBlock = kMaxThreadsPerBlock;
    p.maxThreadsPerMultiProcessor = d.threads;
    p.maxBlocksPerMultiProcessor = d.blocks;
    std::copy_n(kMaxBlock, 3, p.maxThreadsDim);
    std::copy_n(kMaxGrid, 3, p.maxGridSize);
    p.totalConstMem = 64 * 1024;
    p.major = d.major;
    p.minor = d.minor;
    p.multiProcessorCount = d.multiprocessors;
    p.l2CacheSize = static_cast<int>(d.l2_bytes);
    p.concurrentKernels = 1;
    p.unifiedAddressing = 1;
    *properties = p;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call("cudaDeviceSynchronize", [](Driver& d) {
    d.check_safe();
    d.run_everything();
  });
}

// The one call that succeeds after a fault.
cudaError_t cudaDeviceReset() {
  const std::lock_guard lock(driver_mutex());
  driver().reset();
  return cudaSuccess;
}
