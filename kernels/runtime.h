// What the engine needs from a target besides operators: memory, copies, order and recorded steps.
// One table of functions per target, so that no code above kernels/ includes a CUDA header.
#pragma once

#include <cstddef>
#include <string>

#include "kernels/operators.h"

namespace diffscm::kernels {

enum class Copy { within, to_device, to_host };  // seen from the target

struct DeviceMemory {
  size_t free_bytes = 0, total_bytes = 0;
};

// Work that was recorded once and can be queued again as a whole; owned by the target.
struct Recording {
  void* handle = nullptr;
};

struct Runtime {
  const char* target;

  // Empty: usable on this machine. Otherwise one line that says why not (no device, driver too old,
  // unsupported architecture).
  std::string (*unusable)();
  // One line for people: the device's name, architecture, memory.
  std::string (*describe)();
  DeviceMemory (*memory)();

  // Aligned to 256 bytes; contents undefined (poisoned where the target can). Null: out of memory.
  void* (*allocate)(size_t bytes);
  void (*release)(void* block);

  // Ordered before the stream's later work and after its earlier work. When it returns, a copy to
  // the host has finished and one from the host has read the host's memory; a copy within the
  // target has only been queued.
  void (*copy)(void* to, const void* from, size_t bytes, Copy direction, Stream stream);
  // Waits for the stream's work and throws Error when any of it failed.
  void (*synchronize)(Stream stream);

  // Between begin and end, work on the stream is recorded instead of run: launches and copies
  // within the target; anything that needs the host in between throws Error.
  void (*begin_recording)(Stream stream);
  Recording (*end_recording)(Stream stream);
  void (*replay)(Recording recording, Stream stream);
  void (*discard)(Recording recording);
};

}  // namespace diffscm::kernels
