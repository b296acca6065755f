// The targets of this build.
#pragma once

#include "kernels/operators.h"
#include "kernels/runtime.h"

namespace diffscm::kernels {

namespace cpu {
const OperatorTable& operators();
const Runtime& runtime();
}  // namespace cpu
namespace emu {
const OperatorTable& operators();
const Runtime& runtime();
}  // namespace emu
#ifdef DIFFSCM_WITH_CUDA
namespace cuda {
const OperatorTable& operators();
const Runtime& runtime();
}  // namespace cuda
#endif

}  // namespace diffscm::kernels
