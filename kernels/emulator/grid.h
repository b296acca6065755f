// Running a whole grid.
#pragma once

#include "kernels/emulator/launch.h"

namespace diffscm::kernels::emulator {

// Throws Error naming the kernel, the limit and the value that breaks it.
void check_limits(const Launch& launch);

// Runs every block, spread over OS threads. Launches from several OS threads run one at a time. An
// error in a kernel stops the launch and comes out of here.
void run_grid(const Launch& launch);

}  // namespace diffscm::kernels::emulator
