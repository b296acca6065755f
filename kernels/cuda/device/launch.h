// Launching kernels and reaching shared memory on a GPU. (kernels/emulator/cuda.h has the same two
// functions for the host.)
#pragma once

#include <cuda_runtime.h>

#include <string_view>
#include <type_traits>

#include "kernels/cuda/runtime.h"

namespace diffscm::kernels::cuda {

// The block's dynamic shared memory, as one struct of the kernel's own.
template <class T>
__device__ T& shared_memory() {
  extern __shared__ __align__(128) unsigned char shared_bytes_[];
  return *reinterpret_cast<T*>(shared_bytes_);
}

namespace detail {

template <auto kernel>
constexpr std::string_view kernel_name() {
  std::string_view name = __PRETTY_FUNCTION__;  // "... [with auto kernel = gemm<float>; ..."
  name.remove_prefix(name.find("kernel = ") + 9);
  return name.substr(0, name.find_first_of(";]"));
}

// Arguments are converted to the kernel's own parameter types before their addresses are taken.
template <auto kernel, class... P>
void launch_as(void (*)(P...), dim3 grid, dim3 block, size_t shared_bytes, Stream stream,
               std::type_identity_t<P>... args) {
  const void* const function = reinterpret_cast<const void*>(kernel);
  static const bool can_be_early = may_start_early(function);
  const bool early = can_be_early && int64_t{grid.x} * grid.y * grid.z <= most_early_blocks();
  allow_shared_memory(function, shared_bytes);
  void* addresses[] = {static_cast<void*>(&args)..., nullptr};
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = cuda_stream(stream);
  config.attrs = &overlap;
  config.numAttrs = early ? 1 : 0;
  const cudaError_t status = cudaLaunchKernelExC(&config, function, addresses);
  check_launch(status, kernel_name<kernel>(), stream);
}

}  // namespace detail

// Queues kernel<<<grid, block, shared_bytes, stream>>>(args...); an empty grid does nothing. Throws
// Error naming the kernel when the launch is refused and, with DIFFSCM_SYNC=1, when it fails to
// run.
template <auto kernel, class... A>
void launch(dim3 grid, dim3 block, size_t shared_bytes, Stream stream, const A&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  detail::launch_as<kernel>(kernel, grid, block, shared_bytes, stream, args...);
}

}  // namespace diffscm::kernels::cuda
