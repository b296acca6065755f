// The instruction forms that the interpreter knows: an opcode with all its modifiers, what operands
// it takes, and the function that carries it out. A form that is not here is an error, not a guess.
#pragma once

#include <map>
#include <string>

#include "kernels/softgpu/ptx/program.h"

namespace diffscm::softgpu {

struct Form {
  Handler run = nullptr;
  InstructionClass kind = InstructionClass::integer;
  // What stands in the text, results left of the "=", each of
  //   2 4 8   a register of so many bytes; right of the "=" also a number, a special register or
  //           an address that is a constant
  //   p       a predicate
  //   v4x2    {a, b, c, d} of registers of 2 bytes; +v4x2: a result that is read, too
  //   a       [address] of 8 bytes; s: of 4 bytes, in shared memory
  //   #       a whole number
  //   label   of a branch;   call   (results), function, (arguments)
  // Two forms of one opcode differ in these: ld.param.s8 into 2 bytes or into 4.
  std::string operands;
};

class Forms {
 public:
  void add(std::string opcode, Form form) { forms_.emplace(std::move(opcode), std::move(form)); }
  auto find(const std::string& opcode) const { return forms_.equal_range(opcode); }

 private:
  std::multimap<std::string, Form, std::less<>> forms_;
};

// All of them.
const Forms& forms();

// By kind, one file each.
void add_integer_forms(Forms&);
void add_float_forms(Forms&);
void add_conversion_forms(Forms&);
void add_comparison_forms(Forms&);
void add_move_forms(Forms&);
void add_memory_forms(Forms&);
void add_atomic_forms(Forms&);
void add_async_copy_forms(Forms&);
void add_bulk_copy_forms(Forms&);
void add_collective_forms(Forms&);
void add_matrix_forms(Forms&);
void add_warpgroup_forms(Forms&);
void add_control_forms(Forms&);

}  // namespace diffscm::softgpu
