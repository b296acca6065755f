// A fiber: a stack of its own and the place where its execution stopped. Switching to another one
// costs a few nanoseconds, which is what makes it possible to give every CUDA thread that waits a
// stack. A fiber never moves to another OS thread: compilers may keep addresses of thread_local
// variables across calls.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace diffscm::kernels::emulator {

// Where an execution can be continued.
struct Context {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t state;
#endif
  // For AddressSanitizer, which must know on which stack the program runs.
  void* fake_stack = nullptr;
  const void* stack_bottom = nullptr;
  size_t stack_bytes = 0;
};

// Leaves `from`, to be continued by a later switch to it, and continues `to`.
void switch_context(Context& from, Context& to);

class Fiber {
 public:
  // `entry` must never return. `colour` staggers the stacks' tops, so that they do not compete for
  // the same cache lines.
  Fiber(void (*entry)(), unsigned colour);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Forgets whatever it was doing: the next switch starts `entry` from the top.
  void restart();

  Context context;

  bool contains(const void* address) const {
    return address >= memory_ && address < static_cast<const char*>(memory_) + mapped_;
  }

 private:
  void (*entry_)();
  unsigned colour_;
  void* memory_ = nullptr;  // the guard page, then the stack
  size_t mapped_ = 0;
};

// Must be the first thing `entry` calls.
void fiber_entered();

}  // namespace diffscm::kernels::emulator
