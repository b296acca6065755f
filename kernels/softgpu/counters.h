// What the execution of a kernel is counted by.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

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
  load_global,  // ld.global, ld through a generic address
  store_global,
  async_copy,  // cp.async
  load_shared,
  store_shared,
  load_matrix,  // ldmatrix
  atomic,
  local,  // ld.local, st.local
  param   // ld.param, ld.const
};
inline constexpr size_t kInstructionClasses = size_t(InstructionClass::param) + 1;
const char* name(InstructionClass c);

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

// Of one kernel: every launch that was given the same object is added up.
struct KernelCounters {
  std::string kernel;  // mangled
  uint64_t launches = 0, blocks = 0, warps = 0;
  // By the place of the instruction in the kernel's program (program.h), so also by source line.
  std::vector<InstructionCounters> instructions;
  // Global memory by level: sectors that miss an L1 of the block's own while it runs are asked of
  // the L2; distinct sectors of the launch are what memory must move at least once.
  uint64_t l2_read_sectors = 0, l2_write_sectors = 0;
  uint64_t distinct_read_sectors = 0, distinct_write_sectors = 0;
};

}  // namespace diffscm::softgpu
