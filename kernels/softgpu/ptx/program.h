// A kernel in the form that the interpreter runs: one list of instructions (its own, then those of
// the functions that it calls), operands resolved to places in a warp's register file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/softgpu/counters.h"
#include "kernels/softgpu/ptx/syntax.h"

namespace diffscm::softgpu {

class Warp;
struct Instruction;

// Carries an instruction out for the lanes of Warp::active (warp.h).
using Handler = void (*)(Warp&, const Instruction&);

// Where an operand lies, in bytes: at or above 0 in the warp's registers, below 0 in the program's
// constants, counted from their end. A register is 32 values, one per lane: of 4 bytes for types
// of up to 32 bits (those above the type's own are 0), of 8 for 64-bit types. A predicate is 4
// bytes: bit l is lane l's.
using Slot = int32_t;

struct Instruction {
  Handler run = nullptr;
  std::array<Slot, 6> operand{};  // destinations first; the condition of a branch is the guard
  Slot guard = 0;                 // a predicate, if guarded
  bool guarded = false, guard_negated = false;
  InstructionClass kind = InstructionClass::integer;
  int64_t immediate = 0;     // memory: offset of the address; wait_group: groups that may remain
  uint32_t target = 0;       // branch, call: the instruction
  uint32_t extra = 0;        // vectors: the first of their slots in Program::slots
  uint32_t convergence = 0;  // branch: where its paths meet (kNowhere: they do not)
};

inline constexpr uint32_t kNowhere = ~0u;

// Special registers have registers of their own, filled when a block starts.
enum class Special : uint8_t {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  nwarpid
};
inline constexpr size_t kSpecials = size_t(Special::nwarpid) + 1;
// By its name in PTX, %tid.x; nothing if the interpreter does not have it.
std::optional<Special> special(std::string_view name);

// An array of cache lines: registers and constants are read with vector instructions.
struct alignas(64) Line64 {
  std::byte bytes[64];
};

class Program {
 public:
  std::string name;  // of the kernel, demangled
  std::vector<Instruction> code;
  std::vector<Slot> slots;  // of vector operands
  std::vector<Line64> constants;
  uint32_t register_bytes = 0;  // of a warp
  uint32_t local_bytes = 0;     // of a lane
  uint32_t static_shared_bytes = 0;

  // Where an instruction comes from.
  struct Origin {
    uint32_t ptx_line = 0;
    ptx::SourcePlace place;
    std::string opcode;
  };
  std::vector<Origin> origins;
  std::shared_ptr<const std::vector<std::string>> files;
  // "conv2d_mma.cu:53 (inlined at ...)"; the PTX line where there is no debug information.
  std::string where(uint32_t instruction) const;

  Slot special_slot(Special s) const { return static_cast<Slot>(128 * static_cast<uint32_t>(s)); }
};

}  // namespace diffscm::softgpu
