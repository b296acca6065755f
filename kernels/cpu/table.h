// The cpu target's entry points, one file per operator family, and its filled table.
#pragma once

#include "kernels/operators.h"

namespace diffscm::kernels::cpu {

const OperatorTable& operators();

#define F32(name, Args) void name(const Args&, Stream);
#define BOTH(name, Args) void name(const Args<float>&, Stream);
#define BF16(name, ...)
DIFFSCM_OPERATORS(F32, BOTH, BF16)
#undef BF16
#undef BOTH
#undef F32

}  // namespace diffscm::kernels::cpu
