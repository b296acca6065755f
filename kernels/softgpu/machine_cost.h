// How many machine instructions a PTX instruction becomes.
#pragma once

#include <string_view>

namespace diffscm::softgpu {

// An estimate, from reading what ptxas makes for sm_90: PTX counts on a 64-bit machine, the real
// one computes with 32 bits; moves and casts of registers mostly vanish; divisions are subroutines.
double machine_instructions(std::string_view opcode);

// How many mma.m16n8k16 one warp's instruction of the tensor cores is worth, 0 if it is none: of
// wgmma.mma_async.m64nNk16 a warp does a quarter.
double mma_instructions(std::string_view opcode);

}  // namespace diffscm::softgpu
