// How a library with kernels of its own (libraries/cublas.cpp) puts work on a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <vector>

namespace diffscm::softgpu {

struct Touched {
  const void* address;
  size_t bytes;
};

// `run` is carried out in the stream's order, or recorded; all of `memory` must be device memory
// then. It is checked as a copy's is: errors come back as from any call of the runtime.
cudaError_t queue_library_work(const char* call, cudaStream_t stream, std::vector<Touched> memory,
                               std::function<void()> run);

}  // namespace diffscm::softgpu
