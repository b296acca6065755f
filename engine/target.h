// Where a tensor lives and its operators run. Nothing above the engine asks which one it is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels/operators.h"
#include "kernels/runtime.h"

namespace diffscm {

enum class Target { cpu, cuda, emu };

const char* name_of(Target target);
// Throws Error naming the choices.
Target parse_target(std::string_view name);
// Targets built into this program, usable on this machine or not.
std::vector<Target> built_targets();
// Empty: usable. Otherwise one line that says why not (not in this build, no driver, no device).
std::string unusable_because(Target target);
// Targets built into this program and usable on this machine.
std::vector<Target> available_targets();
// cuda if usable, else cpu.
Target default_target();

// The operators of a target, and its memory, copies and recordings. Throw Error with the reason
// when the target is not usable.
const kernels::OperatorTable& operators(Target target);
const kernels::Runtime& runtime(Target target);

// Threads that the cpu target uses; 0 leaves its choice: OMP_NUM_THREADS, else every core.
void set_threads(int threads);
int threads();

}  // namespace diffscm
