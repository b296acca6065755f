// The emulated bodies of kernels/cuda/device/async_copy.h. Data arrive at the latest moment at
// which cp.async may deliver them: when the thread waits for their group. Until then the target is
// poisoned, so reading it too early cannot go unnoticed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/emulator/builtins.h"
#include "kernels/emulator/site.h"

namespace diffscm::kernels::emulator {

// The copies one thread has under way.
class AsyncCopies {
 public:
  struct Copy {
    void* to;
    const void* from;
    size_t bytes;
    bool valid;
    unsigned group;
    const void* pc;  // where it was started
  };
  void clear() {
    copies_.clear();
    done_ = 0;
    group_ = 0;
  }
  void start(void* to, const void* from, size_t bytes, bool valid, const void* pc) {
    copies_.push_back({to, from, bytes, valid, group_, pc});
  }
  void commit() { ++group_; }
  // Carries out all but the last `pending` groups.
  void wait(unsigned pending);

 private:
  std::vector<Copy> copies_;
  size_t done_ = 0;
  unsigned group_ = 0;  // the one being filled
};

}  // namespace diffscm::kernels::emulator

namespace diffscm::kernels::emu {

void emulate_async_copy(void* shared, const void* global, size_t bytes, bool valid,
                        DIFFSCM_EMU_CALLER);
void emulate_async_commit();
void emulate_async_wait(int pending);

// Reports a vector access whose address is not a multiple of its size.
void misaligned(const void* address, size_t bytes, const char* file, int line);
__forceinline__ void check_alignment(const void* address, size_t bytes, DIFFSCM_EMU_CALLER) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0) [[unlikely]]
    misaligned(address, bytes, file, line);
}

}  // namespace diffscm::kernels::emu
