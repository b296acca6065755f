// Profiles of a part of a program, for programs that may or may not be linked with the device in
// software.
#pragma once

#include <cstddef>
#include <string>

namespace diffscm::softgpu {

// Whoever begins, forgets or ends waits for the device first: work counts when it is done.
struct Profiling {
  void (*begin)();   // counts the device's work from now on
  void (*forget)();  // what was counted since; what the L2 holds stays
  void (*end)();
  // Of what was counted, as in profile.h.
  std::string (*kernels)();
  std::string (*lines)(size_t most);
  std::string (*timeline)();
  std::string (*json)();
};

// Null in programs that run on a GPU, or that have no target cuda.
extern "C" [[gnu::weak]] const Profiling* diffscm_softgpu_profiling();
inline const Profiling* profiling() {
  return diffscm_softgpu_profiling == nullptr ? nullptr : diffscm_softgpu_profiling();
}

}  // namespace diffscm::softgpu
