// The target cpu as the engine sees it: its memory is the program's own, and work is done at once.
#include "kernels/runtime.h"

#include <malloc.h>
#include <sys/sysinfo.h>

#include <cstdlib>
#include <cstring>
#include <thread>

#include "kernels/error.h"
#include "kernels/targets.h"

namespace diffscm::kernels::cpu {
namespace {

DeviceMemory memory() {
  struct sysinfo info {};
  if (sysinfo(&info) != 0) return {};
  return {info.freeram * info.mem_unit, info.totalram * info.mem_unit};
}

// Large blocks are mappings of their own, which go back to the system when they are released.
void* allocate(size_t bytes) {
  constexpr size_t kAlignment = 256;
#ifdef M_MMAP_THRESHOLD
  static const bool own_mappings = mallopt(M_MMAP_THRESHOLD, 4 << 20) == 1;
  (void)own_mappings;
#endif
  return std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
}

void copy(void* to, const void* from, size_t bytes, Copy, Stream) {
  if (bytes > 0) std::memmove(to, from, bytes);
}

[[noreturn]] void no_recording() {
  fail("target cpu: a step is not recorded, just run it again");
}

}  // namespace

const Runtime& runtime() {
  static const Runtime table{
      .target = "cpu",
      .unusable = [] { return std::string(); },
      .describe =
          [] { return fmt::format("{} hardware threads", std::thread::hardware_concurrency()); },
      .memory = memory,
      .allocate = allocate,
      .release = std::free,
      .copy = copy,
      .synchronize = [](Stream) {},
      .begin_recording = [](Stream) { no_recording(); },
      .end_recording = [](Stream) -> Recording { no_recording(); },
      .replay = [](Recording, Stream) { no_recording(); },
      .discard = [](Recording) {},
  };
  return table;
}

}  // namespace diffscm::kernels::cpu
