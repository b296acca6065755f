// Programmatic dependent launch: on compute capability 9.0 and later a kernel is brought onto the
// multiprocessors while the kernel before it in the stream still runs, so that the gap between the
// two does not cost its microsecond (docs/architecture.md, "Kernels that follow each other").
#pragma once

namespace diffscm::kernels::DIFFSCM_TARGET {

// Every kernel begins with it, in all threads, before the first access to device memory and before
// the first return: waits until the kernels before have completed and their stores can be seen,
// then lets the kernel after be brought in. What a kernel reads after it may have been written a
// moment before: no pointer of a kernel is __restrict__, which would let the compiler read earlier,
// and through a cache that nobody invalidates.
// Source: PTX ISA, griddepcontrol.
__device__ inline void follow_previous_kernel() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
