#include "kernels/emulator/grid.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>

#include "kernels/emulator/block.h"
#include "kernels/emulator/memory.h"
#include "kernels/emulator/race.h"
#include "kernels/error.h"
#include "kernels/targets.h"

namespace diffscm::kernels::emulator {
namespace {

// Each OS thread may need a thousand stacks with a guard page each, and the kernel allows 65530
// mappings.
constexpr int kMaxWorkers = 16;
// Below so many threads, waking other OS threads costs more than it brings.
constexpr uint64_t kSerialThreads = 512;

// Errors of several blocks: the one that comes first in the order of the launch is reported,
// whatever the number of OS threads.
struct FirstError {
  std::mutex mutex;
  std::atomic<bool> any = false;
  uint64_t position = 0;
  std::exception_ptr error;

  void add(uint64_t at, std::exception_ptr what) {
    const std::lock_guard lock(mutex);
    if (!any || at < position) {
      position = at;
      error = std::move(what);
    }
    any = true;
  }
};

}  // namespace

void check_limits(const Launch& launch) {
  const auto& [x, y, z] = launch.block;
  const uint64_t threads = uint64_t{x} * y * z;
  require(threads > 0, "kernel {}: a block of {} x {} x {} threads is empty", launch.kernel, x, y,
          z);
  require(x <= 1024 && y <= 1024 && z <= 64 && threads <= kMaxThreads,
          "kernel {}: a block of {} x {} x {} threads; a GPU allows 1024 in all, and 64 along z",
          launch.kernel, x, y, z);
  require(launch.grid.x <= 0x7fffffffu && launch.grid.y <= 65535 && launch.grid.z <= 65535,
          "kernel {}: a grid of {} x {} x {} blocks; a GPU allows 2147483647 x 65535 x 65535",
          launch.kernel, launch.grid.x, launch.grid.y, launch.grid.z);
  require(launch.shared_bytes <= kMaxSharedBytes,
          "kernel {}: {} bytes of shared memory; a GPU has at most {}", launch.kernel,
          launch.shared_bytes, kMaxSharedBytes);
}

void run_grid(const Launch& launch) {
  require(Block::running() == nullptr, "kernel {} was launched from within a kernel",
          launch.kernel);
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  const DeviceAccess access;

  const uint64_t blocks = launch.blocks();
  const Order order = emulator::order();
  const emu::dim3& grid = launch.grid;
  std::atomic<uint64_t> next = 0;
  FirstError first;
  const auto work = [&] {
    Block& block = Block::mine();
    for (uint64_t i = next++; i < blocks && !first.any; i = next++) {
      const uint64_t number = order.at(i, blocks);
      const emu::uint3 index{static_cast<unsigned>(number % grid.x),
                             static_cast<unsigned>(number / grid.x % grid.y),
                             static_cast<unsigned>(number / grid.x / grid.y)};
      try {
        block.run(launch, index, order.for_block(number));
      } catch (...) {
        first.add(i, std::current_exception());
      }
    }
  };
  if (race::kChecked) race::begin_launch();
  const uint64_t workers =
      race::kChecked || blocks * launch.threads() < kSerialThreads
          ? 1
          : std::min<uint64_t>(blocks, std::min(omp_get_max_threads(), kMaxWorkers));
  if (workers == 1) {
    work();
  } else {
#pragma omp parallel num_threads(static_cast <int>(workers))
    work();
  }
  if (first.error) std::rethrow_exception(first.error);
}

}  // namespace diffscm::kernels::emulator

void diffscm::kernels::emu::set_threads(int threads) {
  omp_set_num_threads(threads);
}
