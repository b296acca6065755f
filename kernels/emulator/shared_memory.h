// A block's shared memory.
#pragma once

#include <cstddef>

#include "kernels/emulator/builtins.h"

namespace diffscm::kernels::emulator {

struct SharedBlock {
  void* data = nullptr;
  size_t bytes = 0;
};
// That of the block which the calling OS thread runs.
extern constinit thread_local SharedBlock shared_block;

// Gives the next block `bytes` of it, poisoned.
void prepare_shared_memory(size_t bytes);

[[noreturn]] void shared_too_small(size_t needed);

}  // namespace diffscm::kernels::emulator

namespace diffscm::kernels::emu {

// The block's dynamic shared memory, as one struct of the kernel's own. Its contents are NaN until
// written.
template <class T>
__forceinline__ T& shared_memory() {
  static_assert(alignof(T) <= 128);
  if (sizeof(T) > emulator::shared_block.bytes) emulator::shared_too_small(sizeof(T));
  return *static_cast<T*>(emulator::shared_block.data);
}

}  // namespace diffscm::kernels::emu
