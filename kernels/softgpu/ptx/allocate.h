// Which registers share a place. PTX has as many registers as the compiler likes, each written
// about once; a warp that kept them all would fill the cache. As in ptxas, a register takes a place
// when it is first live and gives it back after its last use.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/softgpu/ptx/flow.h"
#include "kernels/softgpu/ptx/syntax.h"

namespace diffscm::softgpu::ptx {

// What a statement reads and writes.
struct Access {
  std::vector<uint32_t> reads, writes;
};

struct Allocation {
  std::vector<uint32_t> place;                      // per register, among those of its kind
  uint32_t predicates = 0, words = 0, doubles = 0;  // places of 0, of 2 and 4, of 8 bytes
};

// `accesses`: per statement, its guard among the reads.
Allocation allocate_registers(const Function& f, const Flow& flow,
                              const std::vector<Access>& accesses);

}  // namespace diffscm::softgpu::ptx
