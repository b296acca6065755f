// The CUDA runtime's functions for kernels: those that the program calls, and those with which
// nvcc's own code registers and launches them.
#include <algorithm>

#include "kernels/softgpu/launch.h"

using namespace diffscm::softgpu;

namespace {

// Of __fatBinC_Wrapper_t in fatbinary_section.h.
struct FatbinWrapper {
  int magic, version;
  const void* data;
  void* other;
};

KernelFile* file_of(void** handle) {
  return reinterpret_cast<KernelFile*>(handle);
}

struct Configuration {
  dim3 grid, block;
  size_t shared_bytes;
  cudaStream_t stream;
};
thread_local Configuration configuration;  // of a <<<...>>> under way

cudaError_t launch_kernel(const char* name, const void* function, dim3 grid, dim3 block,
                          void** args, size_t shared_bytes, cudaStream_t stream) {
  return call(name, [&](Driver& d) {
    launch(d, kernel_files().find(function, d.architecture()), grid, block, args, shared_bytes,
           *d.stream(stream));
  });
}

}  // namespace

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  const std::lock_guard lock(driver_mutex());
  return reinterpret_cast<void**>(
      kernel_files().add(static_cast<const FatbinWrapper*>(wrapper)->data));
}

void __cudaRegisterFatBinaryEnd(void**) {}

void __cudaUnregisterFatBinary(void** handle) {
  const std::lock_guard lock(driver_mutex());
  kernel_files().remove(file_of(handle));
}

void __cudaRegisterFunction(void** handle, const char* stub, char*, const char* name, int, uint3*,
                            uint3*, dim3*, dim3*, int*) {
  const std::lock_guard lock(driver_mutex());
  kernel_files().add_kernel(file_of(handle), stub, name);
}

// Variables are the module's: kernels find them there.
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}

char __cudaInitModule(void**) {
  return 1;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_bytes,
                                     CUstream_st* stream) {
  configuration = {grid, block, shared_bytes, stream};
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared_bytes,
                                       void* stream) {
  *grid = configuration.grid;
  *block = configuration.block;
  *shared_bytes = configuration.shared_bytes;
  *static_cast<cudaStream_t*>(stream) = configuration.stream;
  return cudaSuccess;
}

// The stub itself serves as the handle.
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* stub) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(stub));
  return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** args,
                               size_t shared_bytes, cudaStream_t stream) {
  return launch_kernel("cudaLaunchKernel", kernel, grid, block, args, shared_bytes, stream);
}

}  // extern "C"

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** args,
                             size_t shared_bytes, cudaStream_t stream) {
  return launch_kernel("cudaLaunchKernel", function, grid, block, args, shared_bytes, stream);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function,
                                void** args) {
  return call("cudaLaunchKernelExC", [&](Driver& d) {
    bool early = false;
    for (unsigned i = 0; i < config->numAttrs; ++i) {
      const cudaLaunchAttribute& attribute = config->attrs[i];
      demand(attribute.id == cudaLaunchAttributeProgrammaticStreamSerialization,
             cudaErrorNotSupported, "attribute {}: this device has only that of early starts",
             static_cast<int>(attribute.id));
      early = attribute.val.programmaticStreamSerializationAllowed != 0;
      demand(!early || d.device.major >= 9, cudaErrorNotSupported,
             "a kernel can start early from compute capability 9.0 on, this device has {}.{}",
             d.device.major, d.device.minor);
    }
    launch(d, kernel_files().find(function, d.architecture()), config->gridDim, config->blockDim,
           args, config->dynamicSmemBytes, *d.stream(config->stream), early);
  });
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute which, int value) {
  return call("cudaFuncSetAttribute", [&](Driver& d) {
    Kernel& kernel = kernel_files().find(function, d.architecture());
    demand(which == cudaFuncAttributeMaxDynamicSharedMemorySize, cudaErrorNotSupported,
           "attribute {}: this device has only that of dynamic shared memory",
           static_cast<int>(which));
    const size_t most = d.device.shared_per_block_bytes - kernel.entry->static_shared_bytes;
    demand(value >= 0 && static_cast<size_t>(value) <= most, cudaErrorInvalidValue,
           "kernel {}: {} bytes of dynamic shared memory, a block has at most {}", kernel.title,
           value, most);
    kernel.allowed_dynamic_shared_bytes = static_cast<size_t>(value);
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  return call("cudaFuncGetAttributes", [&](Driver& d) {
    const Kernel& kernel = kernel_files().find(function, d.architecture());
    cudaFuncAttributes a{};
    a.sharedSizeBytes = kernel.entry->static_shared_bytes;
    a.localSizeBytes = kernel.resources.local_bytes;
    a.maxThreadsPerBlock = kernel.entry->max_threads != 0
                               ? static_cast<int>(kernel.entry->max_threads)
                               : kMaxThreadsPerBlock;
    a.numRegs = kernel.resources.registers;
    a.binaryVersion = d.architecture();
    a.ptxVersion = std::min(kernel.file->ptx_architecture, d.architecture());
    a.maxDynamicSharedSizeBytes = static_cast<int>(kernel.allowed_dynamic_shared_bytes);
    *attributes = a;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function,
                                                          int threads, size_t shared_bytes) {
  return call("cudaOccupancyMaxActiveBlocksPerMultiprocessor", [&](Driver& d) {
    demand(threads >= 1 && threads <= kMaxThreadsPerBlock, cudaErrorInvalidValue, "{} threads",
           threads);
    *blocks = blocks_per_multiprocessor(d.device, kernel_files().find(function, d.architecture()),
                                        threads, shared_bytes);
  });
}
