// A place in a kernel's source, for messages.
#pragma once

namespace diffscm::kernels::emulator {

struct Site {
  const char* file = nullptr;
  int line = 0;
  const void* pc = nullptr;  // an address in the code of the caller, with everything inlined there
};

}  // namespace diffscm::kernels::emulator

// Default arguments that stand for the caller's place. (g++ 12 gives the right line only where they
// are the function's own parameters.)
#define DIFFSCM_EMU_CALLER const char *file = __builtin_FILE(), int line = __builtin_LINE()
