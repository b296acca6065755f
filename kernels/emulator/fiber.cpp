#include "kernels/emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#include "kernels/emulator/sanitizer.h"

namespace diffscm::kernels::emulator {
namespace {

// Register tiles of an unoptimised build live on the stack. Pages are only mapped once touched.
constexpr size_t kStackBytes = DIFFSCM_EMU_ASAN ? 256 << 10 : 128 << 10;
constexpr size_t kGuardBytes = 4096;

// AddressSanitizer wants to be told before (with the stack switched to) and after each switch.
thread_local Context* switched_from = nullptr;

void before_switch(Context& from, Context& to) {
  switched_from = &from;
#if DIFFSCM_EMU_ASAN
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack_bottom, to.stack_bytes);
#else
  static_cast<void>(to);
#endif
}

void after_switch([[maybe_unused]] void* fake_stack) {
#if DIFFSCM_EMU_ASAN
  // A thread's own stack is learnt when it is left for the first time.
  __sanitizer_finish_switch_fiber(fake_stack, &switched_from->stack_bottom,
                                  &switched_from->stack_bytes);
#endif
}

}  // namespace

#if defined(__x86_64__)

// The callee-saved registers go to the stack that is left; only its pointer is kept elsewhere.
asm(R"(
.pushsection .text
.globl diffscm_emu_switch
.type diffscm_emu_switch, @function
diffscm_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size diffscm_emu_switch, .-diffscm_emu_switch
.popsection
)");
extern "C" void diffscm_emu_switch(void** save, void* load);

void switch_context(Context& from, Context& to) {
  before_switch(from, to);
  diffscm_emu_switch(&from.stack_pointer, to.stack_pointer);
  after_switch(from.fake_stack);
}

void Fiber::restart() {
  char* bottom = static_cast<char*>(memory_) + kGuardBytes;
#if DIFFSCM_EMU_ASAN
  ASAN_UNPOISON_MEMORY_REGION(bottom, kStackBytes);
#endif
  // What diffscm_emu_switch pops: six registers and the address to go to; above it, a return
  // address of 0 ends every backtrace.
  auto* top = reinterpret_cast<uintptr_t*>(bottom + kStackBytes - 256 * (colour_ % 16));
  *--top = 0;
  *--top = reinterpret_cast<uintptr_t>(entry_);
  for (int i = 0; i < 6; ++i) *--top = 0;
  context.stack_pointer = top;
  context.fake_stack = nullptr;
  context.stack_bottom = bottom;
  context.stack_bytes = kStackBytes;
}

#else  // any other processor: correct, but each switch is a system call

void switch_context(Context& from, Context& to) {
  before_switch(from, to);
  swapcontext(&from.state, &to.state);
  after_switch(from.fake_stack);
}

void Fiber::restart() {
  char* bottom = static_cast<char*>(memory_) + kGuardBytes;
#if DIFFSCM_EMU_ASAN
  ASAN_UNPOISON_MEMORY_REGION(bottom, kStackBytes);
#endif
  getcontext(&context.state);
  context.state.uc_stack.ss_sp = bottom;
  context.state.uc_stack.ss_size = kStackBytes - 256 * (colour_ % 16);
  context.state.uc_link = nullptr;
  makecontext(&context.state, entry_, 0);
  context.fake_stack = nullptr;
  context.stack_bottom = bottom;
  context.stack_bytes = kStackBytes;
}

#endif

Fiber::Fiber(void (*entry)(), unsigned colour) : entry_(entry), colour_(colour) {
  mapped_ = kGuardBytes + kStackBytes;
  memory_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory_ == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory_, kGuardBytes, PROT_NONE);  // an overflow faults instead of writing elsewhere
  restart();
}

Fiber::~Fiber() {
  munmap(memory_, mapped_);
}

void fiber_entered() {
  after_switch(nullptr);
}

}  // namespace diffscm::kernels::emulator
