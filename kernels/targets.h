// The targets that this program was built with: the one place that knows which there are.
#pragma once

#include <string_view>

#include "kernels/operators.h"
#include "kernels/runtime.h"
#include "kernels/whole_network.h"

namespace diffscm::kernels {

// The tables of a target, or none and one line that says why it was left out of the build.
struct BuiltTarget {
  const OperatorTable* operators = nullptr;
  const Runtime* runtime = nullptr;
  const WholeNetwork* whole_network = nullptr;  // cuda and emu have it
  const char* left_out = "";

  explicit operator bool() const { return operators != nullptr; }
};

// name: cpu (always built), cuda (CMake option DIFFSCM_CUDA) or emu (DIFFSCM_EMU).
BuiltTarget built_target(std::string_view name);

// Of the targets that compute on this machine's processor; 0: as many as at first
// (kernels/cpu/thread_pool.h).
void set_threads(int threads);

// What a target's own files define. Only a target that was built can be linked.
namespace cpu {
const OperatorTable& operators();
const Runtime& runtime();
}  // namespace cpu
namespace emu {
const OperatorTable& operators();
const Runtime& runtime();
const WholeNetwork& whole_network();
void set_threads(int threads);
}  // namespace emu
namespace cuda {
const OperatorTable& operators();
const Runtime& runtime();
const WholeNetwork& whole_network();
}  // namespace cuda

}  // namespace diffscm::kernels
