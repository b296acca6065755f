// What nvcc's initialisers registered before main: files (one fat binary each) and their kernels.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/softgpu/cubin.h"
#include "kernels/softgpu/fatbin.h"
#include "kernels/softgpu/ptx/module.h"

namespace diffscm::softgpu {

struct KernelFile;

struct Kernel {
  KernelFile* file;
  std::string name;  // mangled
  // Filled in when the kernel is first used:
  std::string title;  // the name, for people
  const Entry* entry = nullptr;
  KernelResources resources;
  size_t allowed_dynamic_shared_bytes;  // cudaFuncAttributeMaxDynamicSharedMemorySize
};

// Read when a kernel of it is first used: most programs use few.
struct KernelFile {
  const void* fatbin;
  std::unique_ptr<Module> module;
  int ptx_architecture = 0;  // that `module` was compiled for: 90
  std::map<std::string, KernelResources, std::less<>> resources;
};

class KernelFiles {
 public:
  KernelFile* add(const void* fatbin);
  void remove(KernelFile* file);
  // `stub` is the host function that stands for the kernel.
  void add_kernel(KernelFile* file, const void* stub, std::string name);

  // By its stub, or by the Kernel itself (nvcc's stubs use both). Refuses what is neither with
  // cudaErrorInvalidDeviceFunction, and what cannot be read or interpreted with
  // cudaErrorInvalidPtx. architecture: 90; machine code's resources are those of the newest that
  // runs on it.
  Kernel& find(const void* function, int architecture);

 private:
  std::vector<std::unique_ptr<KernelFile>> files_;
  std::map<const void*, std::unique_ptr<Kernel>> kernels_;  // by stub
};

// "conv2d_mma<...>": a mangled name for people.
std::string demangled(const std::string& name);

}  // namespace diffscm::softgpu
