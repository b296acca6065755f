// The CUDA runtime's functions for memory.
#include "kernels/error.h"
#include "kernels/softgpu/driver.h"

using namespace diffscm::softgpu;

namespace {

// release: one of Memory's, which throws for what is no allocation.
template <class F>
void give_back(F&& release) {
  try {
    release();
  } catch (const diffscm::Error& e) {
    refuse(cudaErrorInvalidValue, "{}", e.what());
  }
}

}  // namespace

cudaError_t cudaMalloc(void** block, size_t bytes) {
  return call("cudaMalloc", [&](Driver& d) {
    d.check_safe();
    demand(block != nullptr, cudaErrorInvalidValue, "there is nowhere to put the address");
    *block = bytes == 0 ? nullptr : d.memory.allocate(bytes);
    demand(bytes == 0 || *block != nullptr, cudaErrorMemoryAllocation,
           "{} bytes asked for, {} of {} are free", bytes,
           d.memory.capacity_bytes() - d.memory.used_bytes(), d.memory.capacity_bytes());
  });
}

// As on a GPU, it waits for all work first.
cudaError_t cudaFree(void* block) {
  return call(
      "cudaFree",
      [&](Driver& d) {
        d.check_safe();
        if (block == nullptr) return;
        d.run_everything();
        give_back([&] { d.memory.release(block); });
      },
      Checked::by_nobody);
}

cudaError_t cudaMallocHost(void** block, size_t bytes) {
  return call("cudaMallocHost", [&](Driver& d) {
    d.check_safe();
    demand(block != nullptr, cudaErrorInvalidValue, "there is nowhere to put the address");
    *block = bytes == 0 ? nullptr : d.memory.allocate_host(bytes);
    demand(bytes == 0 || *block != nullptr, cudaErrorMemoryAllocation,
           "{} bytes of pinned memory asked for", bytes);
  });
}

// Does not wait: a copy that has still to use the memory will fail.
cudaError_t cudaFreeHost(void* block) {
  return call(
      "cudaFreeHost",
      [&](Driver& d) {
        d.check_safe();
        if (block != nullptr) give_back([&] { d.memory.release_host(block); });
      },
      Checked::by_nobody);
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return call("cudaMemGetInfo", [&](Driver& d) {
    *total = d.memory.capacity_bytes();
    *free = *total - d.memory.used_bytes();
  });
}
