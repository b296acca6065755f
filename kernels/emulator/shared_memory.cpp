#include "kernels/emulator/shared_memory.h"

#include <fmt/format.h>

#include <cstdlib>
#include <new>

#include "kernels/emulator/block.h"
#include "kernels/emulator/memory.h"
#include "kernels/emulator/sanitizer.h"

namespace diffscm::kernels::emulator {

constinit thread_local SharedBlock shared_block;

namespace {

// Freed when its OS thread ends.
struct Owner {
  void* data = nullptr;
  size_t bytes = 0;
  ~Owner() { std::free(data); }
};
thread_local Owner owner;

}  // namespace

void prepare_shared_memory(size_t bytes) {
  // Exactly as large as asked for, so that AddressSanitizer sees an access past the end.
  if (DIFFSCM_EMU_ASAN ? bytes != owner.bytes : bytes > owner.bytes) {
    std::free(owner.data);
    owner = {};
    if (bytes > 0 && posix_memalign(&owner.data, 1024, bytes) != 0) throw std::bad_alloc();
    owner.bytes = bytes;
  }
  shared_block = {owner.data, bytes};
  poison(owner.data, bytes);
}

void shared_too_small(size_t needed) {
  Block::running()->fail(fmt::format("shared_memory<T>() needs {} bytes, but the launch gave {}",
                                     needed, shared_block.bytes),
                         {nullptr, 0, __builtin_return_address(0)});
}

}  // namespace diffscm::kernels::emulator
