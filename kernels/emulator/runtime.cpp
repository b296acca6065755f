// The target emu as the engine sees it.
#include "kernels/runtime.h"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string_view>

#include "kernels/emulator/cuda.h"
#include "kernels/emulator/grid.h"
#include "kernels/emulator/memory.h"
#include "kernels/emulator/recording.h"
#include "kernels/error.h"
#include "kernels/targets.h"

namespace diffscm::kernels::emulator {

void submit(Launch launch, Stream stream) {
  check_limits(launch);
  do_or_record(stream, [launch = std::move(launch)] { run_grid(launch); });
}

namespace {

void copy(void* to, const void* from, size_t bytes, Copy direction, Stream stream) {
  if (bytes == 0) return;
  require(direction == Copy::to_device || in_device_memory(from, bytes),
          "target emu: a copy of {} bytes reads {}, which is not device memory", bytes,
          fmt::ptr(from));
  require(direction == Copy::to_host || in_device_memory(to, bytes),
          "target emu: a copy of {} bytes writes {}, which is not device memory", bytes,
          fmt::ptr(to));
  if (direction == Copy::within) {
    do_or_record(stream, [=] {
      const DeviceAccess access;
      std::memmove(to, from, bytes);
    });
    return;
  }
  require(!recording(stream),
          "target emu: a copy {} the host cannot be recorded; do it before or after the step",
          direction == Copy::to_host ? "to" : "from");
  const DeviceAccess access;
  std::memcpy(to, from, bytes);
}

void synchronize(Stream stream) {
  require(!recording(stream), "target emu: a stream that is being recorded cannot be waited for");
}

}  // namespace
}  // namespace diffscm::kernels::emulator

namespace diffscm::kernels::emu {

// Decides between tiles. Few by default, so that small shapes, too, come to the large tiles.
int multiprocessors() {
  static const int count = [] {
    const char* value = std::getenv("DIFFSCM_EMU_MULTIPROCESSORS");
    if (value == nullptr) return 4;
    int number = 0;
    const std::string_view text = value;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    require(
        error == std::errc() && end == text.data() + text.size() && number >= 1 && number <= 1024,
        "DIFFSCM_EMU_MULTIPROCESSORS={}: give a number from 1 to 1024", text);
    return number;
  }();
  return count;
}

void* workspace(size_t bytes, Stream stream) {
  // Blocks that became too small are kept: recordings may still use them.
  struct Scratch {
    void* data = nullptr;
    size_t bytes = 0;
  };
  static std::mutex mutex;
  static std::map<void*, Scratch> blocks;
  const std::lock_guard lock(mutex);
  Scratch& block = blocks[stream.handle];
  if (bytes > block.bytes) {
    void* data = emulator::allocate_device(bytes);
    require(data != nullptr, "target emu: no memory for {} bytes of workspace", bytes);
    block = {data, bytes};
  }
  emulator::do_or_record(stream, [data = block.data, bytes] {
    const emulator::DeviceAccess access;
    emulator::poison(data, bytes);
  });
  return block.data;
}

const Runtime& runtime() {
  static const Runtime table{
      .target = "emu",
      .unusable = [] { return std::string(); },
      .describe =
          [] {
            return fmt::format("the CUDA kernels run on this processor, for tests and debugging");
          },
      .memory =
          [] {
            const size_t total = emulator::device_bytes_total();
            return DeviceMemory{total - emulator::device_bytes_used(), total};
          },
      .allocate = emulator::allocate_device,
      .release = emulator::release_device,
      .copy = emulator::copy,
      .synchronize = emulator::synchronize,
      .begin_recording = emulator::begin_recording,
      .end_recording = emulator::end_recording,
      .replay = emulator::replay,
      .discard = emulator::discard,
  };
  return table;
}

}  // namespace diffscm::kernels::emu
