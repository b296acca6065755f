#include "kernels/softgpu/launch.h"

#include <algorithm>
#include <cstring>

#include "kernels/softgpu/execute.h"
#include "kernels/softgpu/profile.h"

namespace diffscm::softgpu {
namespace {

size_t rounded_up(size_t x, size_t unit) {
  return (x + unit - 1) / unit * unit;
}

size_t registers_per_block(const Kernel& kernel, size_t threads) {
  const auto per_warp = rounded_up(static_cast<size_t>(kernel.resources.registers) * kWarp, 256);
  return per_warp * (rounded_up(threads, kWarp) / kWarp);
}

void check_limits(const Device& device, const Kernel& kernel, dim3 grid, dim3 block,
                  size_t dynamic_shared_bytes) {
  const std::string& name = kernel.title;
  const auto within = [&](const char* what, unsigned value, int limit) {
    demand(value >= 1 && value <= static_cast<unsigned>(limit), cudaErrorInvalidConfiguration,
           "kernel {}: {} is {}, the limit {}", name, what, value, limit);
  };
  within("grid.x", grid.x, kMaxGrid[0]);
  within("grid.y", grid.y, kMaxGrid[1]);
  within("grid.z", grid.z, kMaxGrid[2]);
  within("block.x", block.x, kMaxBlock[0]);
  within("block.y", block.y, kMaxBlock[1]);
  within("block.z", block.z, kMaxBlock[2]);
  const unsigned threads = block.x * block.y * block.z;
  within("threads of a block", threads, kMaxThreadsPerBlock);
  const unsigned bound = kernel.entry->max_threads;
  demand(bound == 0 || threads <= bound, cudaErrorLaunchOutOfResources,
         "kernel {}: {} threads, compiled for at most {}", name, threads, bound);
  demand(dynamic_shared_bytes <= kernel.allowed_dynamic_shared_bytes, cudaErrorInvalidValue,
         "kernel {}: {} bytes of dynamic shared memory, {} are allowed "
         "(cudaFuncAttributeMaxDynamicSharedMemorySize)",
         name, dynamic_shared_bytes, kernel.allowed_dynamic_shared_bytes);
  const size_t registers = registers_per_block(kernel, threads);
  demand(registers <= static_cast<size_t>(device.registers), cudaErrorLaunchOutOfResources,
         "kernel {}: {} threads of {} registers need {}, a multiprocessor has {}", name, threads,
         kernel.resources.registers, registers, device.registers);
}

std::vector<std::byte> pack(const Entry& entry, void** args) {
  std::vector<std::byte> block(entry.param_bytes);
  for (size_t i = 0; i < entry.params.size(); ++i)
    std::memcpy(block.data() + entry.params[i].offset, args[i], entry.params[i].bytes);
  return block;
}

// Counts what `run` does and notes it.
template <class F>
void profiled(const Driver& driver, const Kernel& kernel, const LaunchShape& shape, bool replayed,
              Profile& profile, F run) {
  const Extent& block = shape.block;
  const int side_by_side = blocks_per_multiprocessor(driver.device, kernel,
                                                     static_cast<int>(block.x * block.y * block.z),
                                                     shape.dynamic_shared_bytes);
  KernelCounters counters;
  counters.l1_bytes = profile.l1_bytes(
      side_by_side, kernel.entry->static_shared_bytes + shape.dynamic_shared_bytes);
  run(&counters);
  profile.add({.kernel = kernel.title,
               .program = kernel.entry->program,
               .shape = shape,
               .registers = kernel.resources.registers,
               .blocks_per_multiprocessor = side_by_side,
               .replayed = replayed},
              counters);
}

}  // namespace

void launch(Driver& driver, Kernel& kernel, dim3 grid, dim3 block, void** args,
            size_t dynamic_shared_bytes, Stream& stream, bool early) {
  check_limits(driver.device, kernel, grid, block, dynamic_shared_bytes);
  // A compiler reads a whole vector where three of its four floats are wanted: hardware gives
  // shared memory out in units of 128 bytes, here of a vector.
  const LaunchShape shape{
      .grid = {grid.x, grid.y, grid.z},
      .block = {block.x, block.y, block.z},
      .dynamic_shared_bytes = static_cast<uint32_t>(rounded_up(dynamic_shared_bytes, 16)),
      .early = early};
  driver.submit(stream, kernel.title,
                [&kernel, &driver, shape, replayed = stream.capture != nullptr,
                 params = pack(*kernel.entry, args)] {
                  driver.memory.open();
                  const auto run = [&](KernelCounters* counters) {
                    execute(*kernel.file->module, *kernel.entry, shape, params, driver.memory,
                            counters);
                  };
                  Profile* profile = Profile::current(driver.device);
                  profile ? profiled(driver, kernel, shape, replayed, *profile, run) : run(nullptr);
                });
}

int blocks_per_multiprocessor(const Device& device, const Kernel& kernel, int threads,
                              size_t dynamic_shared_bytes) {
  const auto per_block = static_cast<size_t>(threads);
  const size_t shared = rounded_up(
      kernel.entry->static_shared_bytes + dynamic_shared_bytes + kReservedSharedPerBlock, 128);
  const size_t registers = registers_per_block(kernel, per_block);
  size_t blocks = static_cast<size_t>(device.blocks);
  blocks = std::min(blocks, static_cast<size_t>(device.threads) / rounded_up(per_block, kWarp));
  blocks = std::min(blocks, device.shared_bytes / shared);
  if (registers > 0) blocks = std::min(blocks, static_cast<size_t>(device.registers) / registers);
  return static_cast<int>(blocks);
}

}  // namespace diffscm::softgpu
