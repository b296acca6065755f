// What the cuda target needs from the CUDA runtime, with its errors turned into Error. The engine
// uses it too: no other file of it includes CUDA headers.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string_view>

#include "kernels/operators.h"

namespace diffscm::kernels::cuda {

// Throws Error "<what>: <CUDA's words>" unless status is success.
void check(cudaError_t status, std::string_view what);

// Stream{} is the program's one compute stream, created at first use; it does not wait for the
// legacy default stream.
cudaStream_t cuda_stream(Stream stream);

// Lets a kernel use more than 48 KiB of dynamic shared memory. Throws when the device has less.
void allow_shared_memory(const void* kernel, size_t bytes);

// Checks a launch; with DIFFSCM_SYNC=1 also waits for it, so that a fault names its kernel.
void check_launch(cudaError_t status, std::string_view kernel, Stream stream);

int multiprocessors();

// Device memory for an operator's partial results, reused by the next caller on the same stream:
// valid until the operator returns to its caller. Grows as needed.
void* workspace(size_t bytes, Stream stream);

}  // namespace diffscm::kernels::cuda
