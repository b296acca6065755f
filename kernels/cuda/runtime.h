// What the cuda target's own files need from the CUDA runtime, with its errors turned into Error.
// (What the engine needs is kernels/runtime.h, which device_runtime.cpp fills in.)
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

// Whether work on the stream is being recorded instead of run.
bool recording(Stream stream);

// While one lives, this thread may allocate memory even though it records a step: CUDA refuses that
// by default because an allocation is not part of the graph, which is what is wanted here.
class AnyCallAllowed {
 public:
  AnyCallAllowed();
  ~AnyCallAllowed();
  AnyCallAllowed(const AnyCallAllowed&) = delete;
  AnyCallAllowed& operator=(const AnyCallAllowed&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

// Lets a kernel use more than 48 KiB of dynamic shared memory. Throws when the device has less.
void allow_shared_memory(const void* kernel, size_t bytes);

// Whether a kernel, which begins with follow_previous_kernel(), may be brought in before the kernel
// ahead of it has completed: from compute capability 9.0 on, unless the driver cannot record it
// (before CUDA 12.3). The code that the device has of it must know the wait, too.
bool may_start_early(const void* kernel);
// And it is of use to launches of so few blocks: DIFFSCM_OVERLAP, or one for every fourth
// multiprocessor.
int64_t most_early_blocks();

// Checks a launch; with DIFFSCM_SYNC=1 also waits for it, so that a fault names its kernel.
void check_launch(cudaError_t status, std::string_view kernel, Stream stream);

int multiprocessors();

// Device memory for an operator's partial results, reused by the next caller on the same stream:
// valid until the operator returns to its caller. Grows as needed.
void* workspace(size_t bytes, Stream stream);

}  // namespace diffscm::kernels::cuda
