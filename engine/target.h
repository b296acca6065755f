// Where a tensor lives and its operators run. Nothing above the engine asks which one it is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels/operators.h"

namespace diffscm {

enum class Target { cpu, cuda, emu };

const char* name_of(Target target);
// Throws Error naming the choices.
Target parse_target(std::string_view name);
// Targets built into this program and usable on this machine.
std::vector<Target> available_targets();
// cuda if usable, else cpu.
Target default_target();

// The operator table of a target. Throws Error when this build or machine does not have the target.
const kernels::OperatorTable& operators(Target target);

// Threads that the cpu target uses; 0 leaves OpenMP's choice: OMP_NUM_THREADS, else every core.
void set_threads(int threads);
int threads();

}  // namespace diffscm
