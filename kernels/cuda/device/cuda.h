// The one header a kernel file includes. It makes the same .cu compile twice: by nvcc into the
// target `cuda`, and by the host compiler, against kernels/emulator/, into the target `emu`.
//
// Rules of a kernel file, so that both stay possible:
//   - everything stands in namespace diffscm::kernels::DIFFSCM_TARGET;
//   - launch<kernel>(grid, block, shared_bytes, stream, args...) instead of <<<>>>;
//   - a kernel begins with follow_previous_kernel() and has no __restrict__ (follow.h);
//   - shared memory is one struct, obtained by shared_memory<T>(); no __shared__ variables;
//   - PTX stays in this folder, each wrapper with its emulated body beside it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/error.h"
#include "kernels/operators.h"

#ifdef __CUDACC__
#define DIFFSCM_TARGET cuda
#include "kernels/cuda/device/launch.h"
#else
#define DIFFSCM_TARGET emu
#include "kernels/emulator/cuda.h"
#endif

#include "kernels/cuda/device/follow.h"
#include "kernels/cuda/device/number.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/device/warp.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

inline constexpr int kWarp = 32;

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
