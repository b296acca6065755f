// Which form a statement has: its opcode, and operands of the kinds that the form takes.
#pragma once

#include <vector>

#include "kernels/softgpu/ptx/allocate.h"
#include "kernels/softgpu/ptx/forms.h"
#include "kernels/softgpu/ptx/syntax.h"

namespace diffscm::softgpu::ptx {

// One word of Form::operands.
struct Item {
  char kind = 0;       // 2 4 8 p a s # l(abel) c(all)
  uint32_t count = 1;  // of a vector
  bool vector = false, result = false;
  bool read = true;  // of a result: whether the instruction reads it, too
  bool any_number = true;
  uint64_t number = 0;  // #16: this number and no other
};

struct ChosenForm {
  const Form* form = nullptr;  // null: there is none
  std::vector<Item> items;
};

// `known` is set if there is a form of that opcode at all.
ChosenForm choose_form(const Function& f, const Statement& s, bool* known);

// The registers that a statement of that form reads and writes.
Access access_of(const Statement& s, const std::vector<Item>& items);

}  // namespace diffscm::softgpu::ptx
