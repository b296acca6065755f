// The entry points of the targets cuda and emu, which are compiled from the same files, and their
// filled table.
#pragma once

#include "kernels/cuda/device/cuda.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

const OperatorTable& operators();

#define DIFFSCM_DECLARE(name, ...) void name(const __VA_ARGS__&, Stream);
#define DIFFSCM_DECLARE_BOTH(name, Args) \
  template <class T>                     \
  void name(const Args<T>&, Stream);
DIFFSCM_OPERATORS(DIFFSCM_DECLARE, DIFFSCM_DECLARE_BOTH, DIFFSCM_DECLARE)
#undef DIFFSCM_DECLARE_BOTH
#undef DIFFSCM_DECLARE

}  // namespace diffscm::kernels::DIFFSCM_TARGET
