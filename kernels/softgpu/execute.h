// Runs a kernel: every block of a grid, warp by warp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/softgpu/memory.h"
#include "kernels/softgpu/ptx/module.h"

namespace diffscm::softgpu {

struct KernelCounters;

struct Extent {
  uint32_t x = 1, y = 1, z = 1;
};

struct LaunchShape {
  Extent grid = {}, block = {};
  uint32_t dynamic_shared_bytes = 0;
  // Programmatic dependent launch: it may begin before the kernel ahead of it has completed, and
  // must not touch global memory, nor end, before it has waited for that one.
  bool early = false;
};

// Runs `entry` of `module`. `params` is its packed parameter block (entry.param_bytes). A global
// address is a host address inside an allocation of `memory` or a variable of the module. Blocks
// are spread over the threads that OpenMP gives. `counters`, if given, gets what was counted added.
// Throws Error that names kernel, source line, block, thread, and for an access the address and
// the nearest allocation.
void execute(const Module& module, const Entry& entry, const LaunchShape& shape,
             std::span<const std::byte> params, const Memory& memory,
             KernelCounters* counters = nullptr);

}  // namespace diffscm::softgpu
