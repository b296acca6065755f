// The emulated bodies of kernels/cuda/device/mma.h.
#pragma once

#include <cstdint>

#include "kernels/emulator/site.h"

namespace diffscm::kernels::emu {

void emulate_mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                          DIFFSCM_EMU_CALLER);
void emulate_ldmatrix(uint32_t* registers, int matrices, const void* row, bool transposed,
                      DIFFSCM_EMU_CALLER);
void emulate_stmatrix(void* row, const uint32_t (&registers)[4], DIFFSCM_EMU_CALLER);

}  // namespace diffscm::kernels::emu
