#include "kernels/emulator/atomics.h"

#include <atomic>

#include "kernels/emulator/race.h"

// A macro, as the address returned to must be the caller's.
#define DIFFSCM_ATOMIC_ACCESS(at)                                         \
  if (emulator::race::kChecked)                                           \
  emulator::race::access(at, sizeof(*at), emulator::race::Access::atomic, \
                         __builtin_return_address(0))

namespace diffscm::kernels::emu {
namespace {

// Blocks run on several OS threads, so these are atomic on the host too.
template <class T, class F>
T update(T* at, const F& f) {
  std::atomic_ref<T> value(*at);
  T before = value.load(std::memory_order_relaxed);
  while (!value.compare_exchange_weak(before, f(before), std::memory_order_relaxed)) {
  }
  return before;
}

template <class T>
T compare_and_swap(T* at, T compare, T value) {
  std::atomic_ref<T>(*at).compare_exchange_strong(compare, value, std::memory_order_relaxed);
  return compare;
}

}  // namespace

int atomicAdd(int* at, int value) {
  DIFFSCM_ATOMIC_ACCESS(at);
  return std::atomic_ref(*at).fetch_add(value, std::memory_order_relaxed);
}
unsigned atomicAdd(unsigned* at, unsigned value) {
  DIFFSCM_ATOMIC_ACCESS(at);
  return std::atomic_ref(*at).fetch_add(value, std::memory_order_relaxed);
}
unsigned long long atomicAdd(unsigned long long* at, unsigned long long value) {
  DIFFSCM_ATOMIC_ACCESS(at);
  return std::atomic_ref(*at).fetch_add(value, std::memory_order_relaxed);
}
float atomicAdd(float* at, float value) {
  DIFFSCM_ATOMIC_ACCESS(at);
  return update(at, [=](float before) { return before + value; });
}
int atomicMax(int* at, int value) {
  DIFFSCM_ATOMIC_ACCESS(at);
  return update(at, [=](int before) { return before < value ? value : before; });
}
unsigned atomicMax(unsigned* at, unsigned value) {
  DIFFSCM_ATOMIC_ACCESS(at);
  return update(at, [=](unsigned before) { return before < value ? value : before; });
}
int atomicMin(int* at, int value) {
  DIFFSCM_ATOMIC_ACCESS(at);
  return update(at, [=](int before) { return value < before ? value : before; });
}
unsigned atomicMin(unsigned* at, unsigned value) {
  DIFFSCM_ATOMIC_ACCESS(at);
  return update(at, [=](unsigned before) { return value < before ? value : before; });
}
int atomicCAS(int* at, int compare, int value) {
  DIFFSCM_ATOMIC_ACCESS(at);
  return compare_and_swap(at, compare, value);
}
unsigned atomicCAS(unsigned* at, unsigned compare, unsigned value) {
  DIFFSCM_ATOMIC_ACCESS(at);
  return compare_and_swap(at, compare, value);
}
unsigned long long atomicCAS(unsigned long long* at, unsigned long long compare,
                             unsigned long long value) {
  DIFFSCM_ATOMIC_ACCESS(at);
  return compare_and_swap(at, compare, value);
}

void __threadfence() {
  if (emulator::race::kChecked) emulator::race::fence();
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace diffscm::kernels::emu
