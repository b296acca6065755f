#include "kernels/emulator/async_copy.h"

#include <fmt/format.h>

#include <cstring>

#include "kernels/emulator/block.h"

namespace diffscm::kernels::emulator {

void AsyncCopies::wait(unsigned pending) {
  while (done_ < copies_.size() && copies_[done_].group + pending < group_) {
    const Copy& copy = copies_[done_++];
    if (copy.valid) {
      std::memcpy(copy.to, copy.from, copy.bytes);
    } else {
      std::memset(copy.to, 0, copy.bytes);
    }
  }
  if (done_ == copies_.size()) {
    copies_.clear();
    done_ = 0;
  }
}

}  // namespace diffscm::kernels::emulator

namespace diffscm::kernels::emu {

using emulator::Block;

void emulate_async_copy(void* shared, const void* global, size_t bytes, bool valid,
                        const char* file, int line) {
  check_alignment(shared, bytes, file, line);
  check_alignment(global, bytes, file, line);
  std::memset(shared, 0xff, bytes);
  Block::running()->self().copies.start(shared, global, bytes, valid);
}

void emulate_async_commit() {
  Block::running()->self().copies.commit();
}

void emulate_async_wait(int pending) {
  Block::running()->self().copies.wait(static_cast<unsigned>(pending));
}

void misaligned(const void* address, size_t bytes, const char* file, int line) {
  Block::running()->fail(
      fmt::format("misaligned access: {} bytes at {}, which is not a multiple of {}", bytes,
                  fmt::ptr(address), bytes),
      {file, line});
}

}  // namespace diffscm::kernels::emu
