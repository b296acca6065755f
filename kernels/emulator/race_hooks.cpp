// What a compiler's -fsanitize=thread calls around memory accesses, answered by the race checker
// instead of the sanitizer's library, which knows nothing of CUDA's threads.
#include "kernels/emulator/race.h"

#ifdef DIFFSCM_EMU_RACE

#include <atomic>

namespace race = diffscm::kernels::emulator::race;

#define DIFFSCM_CALLER __builtin_return_address(0)

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}

#define DIFFSCM_PLAIN(bytes)                                     \
  void __tsan_read##bytes(void* p) {                             \
    race::access(p, bytes, race::Access::read, DIFFSCM_CALLER);  \
  }                                                              \
  void __tsan_write##bytes(void* p) {                            \
    race::access(p, bytes, race::Access::write, DIFFSCM_CALLER); \
  }                                                              \
  void __tsan_unaligned_read##bytes(void* p) {                   \
    race::access(p, bytes, race::Access::read, DIFFSCM_CALLER);  \
  }                                                              \
  void __tsan_unaligned_write##bytes(void* p) {                  \
    race::access(p, bytes, race::Access::write, DIFFSCM_CALLER); \
  }
DIFFSCM_PLAIN(1)
DIFFSCM_PLAIN(2)
DIFFSCM_PLAIN(4)
DIFFSCM_PLAIN(8)
DIFFSCM_PLAIN(16)

void __tsan_read_range(void* p, size_t bytes) {
  race::access(p, bytes, race::Access::read, DIFFSCM_CALLER);
}
void __tsan_write_range(void* p, size_t bytes) {
  race::access(p, bytes, race::Access::write, DIFFSCM_CALLER);
}

// Atomics of the host's code in a kernel file (guards of static variables, reference counts).
#define DIFFSCM_ATOMIC(bits, T)                                                                    \
  T __tsan_atomic##bits##_load(const volatile T* p, int) {                                         \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                   \
  }                                                                                                \
  void __tsan_atomic##bits##_store(volatile T* p, T v, int) {                                      \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                      \
  }                                                                                                \
  T __tsan_atomic##bits##_exchange(volatile T* p, T v, int) {                                      \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                            \
  }                                                                                                \
  T __tsan_atomic##bits##_fetch_add(volatile T* p, T v, int) {                                     \
    return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                             \
  }                                                                                                \
  T __tsan_atomic##bits##_fetch_sub(volatile T* p, T v, int) {                                     \
    return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);                                             \
  }                                                                                                \
  T __tsan_atomic##bits##_fetch_and(volatile T* p, T v, int) {                                     \
    return __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST);                                             \
  }                                                                                                \
  T __tsan_atomic##bits##_fetch_or(volatile T* p, T v, int) {                                      \
    return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST);                                              \
  }                                                                                                \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* expected, T v, int, int) {   \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                                \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile T* p, T* expected, T v, int, int) {     \
    return __atomic_compare_exchange_n(p, expected, v, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
  }
DIFFSCM_ATOMIC(8, unsigned char)
DIFFSCM_ATOMIC(16, unsigned short)
DIFFSCM_ATOMIC(32, unsigned)
DIFFSCM_ATOMIC(64, unsigned long)

void __tsan_atomic_thread_fence(int) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
void __tsan_atomic_signal_fence(int) {}

}  // extern "C"

#endif
