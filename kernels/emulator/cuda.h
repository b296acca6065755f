// CUDA C++ for the host compiler: all that a kernel file may use. See kernels/cuda/device/cuda.h
// for the rules of such files.
#pragma once

#include "kernels/emulator/async_copy.h"
#include "kernels/emulator/atomics.h"
#include "kernels/emulator/builtins.h"
#include "kernels/emulator/collectives.h"
#include "kernels/emulator/intrinsics.h"
#include "kernels/emulator/launch.h"
#include "kernels/emulator/shared_memory.h"
#include "kernels/emulator/tensor_cores.h"
