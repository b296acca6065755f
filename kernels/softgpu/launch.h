// A kernel's launch: what the hardware would refuse, and how many blocks it runs side by side.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/softgpu/driver.h"

namespace diffscm::softgpu {

// args: the address of each of the kernel's parameters, read now. early: LaunchShape's.
void launch(Driver& driver, Kernel& kernel, dim3 grid, dim3 block, void** args,
            size_t dynamic_shared_bytes, Stream& stream, bool early = false);

// What limits the blocks of one multiprocessor: threads, registers, shared memory, blocks. 0 if one
// block is too many. Source: NVIDIA's occupancy calculator; registers are given out by the warp, in
// units of 256.
int blocks_per_multiprocessor(const Device& device, const Kernel& kernel, int threads,
                              size_t dynamic_shared_bytes);

}  // namespace diffscm::softgpu
