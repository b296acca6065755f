#include "kernels/emulator/async_copy.h"

#include <fmt/format.h>

#include <cstring>

#include "kernels/emulator/block.h"
#include "kernels/emulator/memory.h"
#include "kernels/emulator/race.h"

namespace diffscm::kernels::emulator {

void AsyncCopies::wait(unsigned pending) {
  while (done_ < copies_.size() && copies_[done_].group + pending < group_) {
    const Copy& copy = copies_[done_++];
    if (copy.valid) {
      std::memcpy(copy.to, copy.from, copy.bytes);
    } else {
      std::memset(copy.to, 0, copy.bytes);
    }
    if (race::kChecked) race::async_end(copy.to, copy.bytes, copy.pc);
  }
  if (done_ == copies_.size()) {
    copies_.clear();
    done_ = 0;
  }
}

}  // namespace diffscm::kernels::emulator

namespace diffscm::kernels::emu {

using emulator::Block;

namespace {

void report_misaligned(const void* address, size_t bytes, emulator::Site site) {
  Block::running()->fail(
      fmt::format("misaligned access: {} bytes at {}, which is not a multiple of {}", bytes,
                  fmt::ptr(address), bytes),
      site);
}

}  // namespace

void emulate_async_copy(void* shared, const void* global, size_t bytes, bool valid,
                        const char* file, int line) {
  for (const void* address : {static_cast<const void*>(shared), global})
    if (reinterpret_cast<uintptr_t>(address) % bytes != 0)
      report_misaligned(address, bytes, {file, line, __builtin_return_address(0)});
  const void* const pc = __builtin_return_address(0);
  if (emulator::race::kChecked) {
    if (valid) emulator::race::access(global, bytes, emulator::race::Access::read, pc);
    emulator::race::async_start(shared, bytes, pc);
  }
  emulator::poison(shared, bytes);
  Block::running()->self().copies.start(shared, global, bytes, valid, pc);
}

void emulate_async_commit() {
  Block::running()->self().copies.commit();
}

void emulate_async_wait(int pending) {
  Block::running()->self().copies.wait(static_cast<unsigned>(pending));
}

void misaligned(const void* address, size_t bytes, const char* file, int line) {
  report_misaligned(address, bytes, {file, line, __builtin_return_address(0)});
}

}  // namespace diffscm::kernels::emu
