// Copies between the host's memory and the device's.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace diffscm::kernels::cuda {

// Ordered after the stream's earlier work. When it returns, the host's memory has been read; the
// device's is written before any later work on the stream.
void copy_to_device(void* to, const void* from, size_t bytes, cudaStream_t stream);
// When it returns, the host's memory has been written.
void copy_to_host(void* to, const void* from, size_t bytes, cudaStream_t stream);

}  // namespace diffscm::kernels::cuda
