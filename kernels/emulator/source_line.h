// From addresses in the running program to lines of source.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels/emulator/site.h"

namespace diffscm::kernels::emulator {

// A path as seen from the source tree's root: kernels/cuda/conv2d.cu.
std::string_view short_path(std::string_view path);

// "FILE:LINE" of everything that was inlined at the call that returns to `pc`, innermost first;
// functions of the emulator itself are left out. Empty when binutils' addr2line is not there.
std::vector<std::string> source_lines(const void* pc);

// The place in the kernel's own file, rather than in kernels/cuda/device, if that is known.
std::string place(const Site& site);
// "" or ", called from FILE:LINE, FILE:LINE": how a wrapper in kernels/cuda/device was reached.
std::string place_with_callers(const Site& site);

}  // namespace diffscm::kernels::emulator
