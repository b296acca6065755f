// The control flow of a function: basic blocks, and where diverged paths meet.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/softgpu/ptx/syntax.h"

namespace diffscm::softgpu::ptx {

inline constexpr uint32_t kNone = ~0u;

// Statements [first, last] that are executed one after the other.
struct BasicBlock {
  uint32_t first = 0, last = 0;
  std::vector<uint32_t> successors;  // blocks; none after a return
};

struct Flow {
  std::vector<BasicBlock> blocks;
  // Per statement: where a branch goes (kNone: it is no branch), and the first statement that every
  // path from it passes, its immediate post-dominator (kNone: there is none, or no branch).
  std::vector<uint32_t> target, convergence;
};

bool is_branch(const Statement& s);
bool is_end(const Statement& s);  // ret, exit, trap

// Throws Error for a label that the function does not have.
Flow flow_of(const Function& f);

}  // namespace diffscm::softgpu::ptx
