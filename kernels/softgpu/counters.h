// What the execution of a kernel is counted by. Exact, but for the L1, which is a model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/softgpu/traffic.h"

namespace diffscm::softgpu {

// What an instruction is for the machine: the unit that carries it out.
enum class InstructionClass : uint8_t {
  integer,      // 32-bit and 64-bit integer arithmetic, logic, shifts, comparisons, moves
  float32,      // f32 arithmetic
  float64,      // f64 arithmetic
  conversion,   // cvt between kinds of numbers
  special,      // divisions, square roots, exponentials: several instructions each on the machine
  control,      // branches, calls, returns
  barrier,      // bar.sync, bar.warp.sync
  shuffle,      // shfl.sync
  matrix,       // mma.sync
  warpgroup,    // wgmma.mma_async
  load_global,  // ld.global, ld through a generic address
  store_global,
  async_copy,         // cp.async.cg
  async_copy_cached,  // cp.async.ca: by way of the L1
  load_shared,
  store_shared,
  load_matrix,  // ldmatrix
  atomic,
  local,  // ld.local, st.local
  param   // ld.param, ld.const
};
// Whether its requests go to global memory.
inline bool is_global(InstructionClass c) {
  return c == InstructionClass::load_global || c == InstructionClass::store_global ||
         c == InstructionClass::async_copy || c == InstructionClass::async_copy_cached;
}

// Of one PTX instruction, summed over the warps that executed it.
struct InstructionCounters {
  uint64_t executed = 0;          // warp-instructions
  uint64_t lanes = 0;             // active lanes, summed: 32 * executed without divergence
  uint64_t sectors = 0;           // global memory: 32-byte sectors touched, per request, summed
  uint64_t bytes = 0;             // asked for by the lanes, whatever the memory
  uint64_t wavefronts = 0;        // shared memory: passes over the banks
  uint64_t ideal_wavefronts = 0;  // those that the same words need without conflicts

  InstructionCounters& operator+=(const InstructionCounters& other);
};

// Of one launch.
struct KernelCounters {
  size_t l1_bytes = 32 * 1024;  // set by who launches: the L1 that a block has to itself

  uint64_t blocks = 0, warps = 0;
  // By the place of the instruction in the kernel's program (program.h), so also by source line.
  std::vector<InstructionCounters> instructions;
  // Sectors that are asked of the L2: loads that miss a block's L1, asynchronous copies, stores.
  uint64_t l2_read_sectors = 0, l2_written_sectors = 0;
  Footprint footprint;  // the sectors of global memory that it touches
};

}  // namespace diffscm::softgpu
