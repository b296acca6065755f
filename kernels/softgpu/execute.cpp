#include "kernels/softgpu/execute.h"

#include <atomic>
#include <exception>
#include <mutex>

#include "kernels/error.h"
#include "kernels/softgpu/block.h"

namespace diffscm::softgpu {

void execute(const Module& module, const Entry& entry, const LaunchShape& shape,
             std::span<const std::byte> params, const Memory& memory, KernelCounters* counters) {
  const Launch launch{*entry.program, shape, params, memory, module};
  require(params.size() >= entry.param_bytes, "{}: {} bytes of parameters, {} are needed",
          entry.program->name, params.size(), entry.param_bytes);
  require(launch.threads() > 0, "{}: a block of no threads", entry.program->name);
  require(entry.max_threads == 0 || launch.threads() <= entry.max_threads,
          "{}: {} threads in a block, it was compiled for at most {}", entry.program->name,
          launch.threads(), entry.max_threads);
  const uint64_t blocks = uint64_t{shape.grid.x} * shape.grid.y * shape.grid.z;
  if (counters) {
    counters->instructions.resize(launch.program.code.size());
    counters->blocks += blocks;
    counters->warps += blocks * launch.warps();
  }

  // Each thread takes the next block that nobody has; the first error ends them all.
  std::atomic<uint64_t> next = 0;
  std::exception_ptr error;
  std::mutex mutex;
#pragma omp parallel if (blocks > 1)
  {
    std::vector<InstructionCounters> own(counters ? launch.program.code.size() : 0);
    Traffic traffic(counters ? counters->l1_bytes : 0);
    try {
      Block block(launch, own, &traffic);
      for (uint64_t b; (b = next.fetch_add(1)) < blocks;)
        block.run({static_cast<uint32_t>(b % shape.grid.x),
                   static_cast<uint32_t>(b / shape.grid.x % shape.grid.y),
                   static_cast<uint32_t>(b / (uint64_t{shape.grid.x} * shape.grid.y))});
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next = blocks;
    }
    if (counters) {
      const std::lock_guard lock(mutex);
      for (size_t i = 0; i < own.size(); ++i) counters->instructions[i] += own[i];
      counters->l2_read_sectors += traffic.l2_read_sectors;
      counters->l2_written_sectors += traffic.l2_written_sectors;
      counters->footprint.add(traffic.footprint);
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace diffscm::softgpu
