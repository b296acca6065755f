// The products of wgmma.mma_async that a block has under way, and which bytes of its shared memory
// wgmma may not see yet. What is checked here is undefined on a GPU, and says nothing there.
//
// A product reads its operands at some time between its start and the wait for it. Here it does in
// the wait; that they were the same at the start is checked, too. Its sums are NaN until then.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/softgpu/ptx/program.h"

namespace diffscm::softgpu {

// Of one warp: a quarter of the rows.
struct WarpgroupProduct {
  const Slot* d = nullptr;  // of the program: the registers that hold the sums
  uint64_t a = 0, b = 0;    // descriptors
  int columns = 0;
  bool b_along_n = false;
  bool a_in_registers = false;
  std::array<std::array<uint32_t, 32>, 4> fragment;  // A, where it is: by register and lane
  uint64_t operands = 0;                             // a sum over their bytes at the start
  uint32_t group = 0, instruction = 0;
};

// Sums that are under way: their values, which the registers do not have.
struct WarpgroupSums {
  const Slot* d = nullptr;
  uint32_t products = 0;
  std::vector<float> values;  // [columns / 2][32]
};

struct WarpProducts {
  std::vector<WarpgroupProduct> pending;
  std::vector<WarpgroupSums> sums;
  uint32_t committed = 0;  // groups
  bool fenced = false;     // by wgmma.fence, since sums came back
};

class Warpgroups {
 public:
  Warpgroups(const Program& program, uint32_t warps, uint32_t shared_bytes);

  // Whether the kernel has such products: otherwise nothing needs to be noted.
  bool in_use() const { return !writer_.empty(); }
  void clear();
  WarpProducts& of(uint32_t warp) { return products_[warp]; }
  // Throws Error if a warp has ended with products under way.
  void require_waited_for(std::span<const Warp> warps) const;

  // A warp has written shared memory; it has called fence.proxy.async.
  void wrote(uint32_t warp, uint32_t address, uint32_t bytes);
  void fence(uint32_t warp);
  // A bulk copy has: wgmma sees that.
  void copied(uint32_t address, uint32_t bytes);
  // The warp whose last write of these 16 bytes no fence has followed, or -1.
  int unfenced_writer(uint32_t address) const { return int{writer_[address / 16]} - 1; }

 private:
  std::vector<WarpProducts> products_;
  std::vector<uint8_t> writer_;                 // per 16 bytes: 0, or 1 + the warp
  std::vector<std::vector<uint32_t>> written_;  // by each warp, since its last fence
};

}  // namespace diffscm::softgpu
