// From what was counted to the time that a launch would take on a GPU: a model, no measurement.
//
// A launch takes an overhead and a norm of what it needs at each limit of the machine, which is
// somewhat more than the largest: limits overlap, but not perfectly.
//   issue    machine instructions (machine_cost.h) over the four schedulers of each multiprocessor,
//            which issue one per cycle at best
//   matrix   mma.sync and wgmma over the tensor cores
//   special  divisions, exponentials and f64 over their few lanes
//   shared   passes over the banks of shared memory, one per cycle
//   l1       sectors of global memory through the L1, four per cycle
//   l2       sectors that the L2 moves
//   memory   bytes of main memory: what the L2 does not hold
//   latency  the time of one warp from begin to end, for as many rounds of blocks as there are
// The constants in predict.cpp (kReached and after) are fitted to kernels and jobs measured on an
// H100; bench/results/nvidia-h100-80gb-hbm3/kernels.md says how, and how far off they leave it.
// Launches of fewer blocks than multiprocessors leave some idle; a last round of blocks that is not
// full does, too.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>

#include "kernels/softgpu/counters.h"
#include "kernels/softgpu/device.h"
#include "kernels/softgpu/ptx/program.h"

namespace diffscm::softgpu {

enum class Limit { issue, matrix, special, shared, l1, l2, memory, latency };
inline constexpr size_t kLimits = size_t(Limit::latency) + 1;
const char* name(Limit limit);

// What a launch asks of the machine as a whole.
struct Demand {
  uint64_t blocks = 0, warps = 0;
  int blocks_per_multiprocessor = 1;
  double instructions = 0;  // of the machine, of all warps
  double matrix = 0;        // mma.m16n8k16
  double warpgroup = 0;     // the same, of wgmma
  double special = 0;       // cycles of one multiprocessor's special and f64 units
  double shared = 0;        // wavefronts
  double l1 = 0;            // sectors
  double l2_bytes = 0, memory_bytes = 0;
  double warp_cycles = 0;  // of one warp, alone
};

struct Prediction {
  double us = 0;                        // with the overhead
  std::array<double, kLimits> us_of{};  // what each limit alone would need
  Limit limit = Limit::issue;
};

// `memory_bytes` is left to the L2.
Demand demand(const Device& device, const Program& program, const KernelCounters& counters,
              int blocks_per_multiprocessor);
Prediction predict(const Device& device, const Demand& demand);
// A copy or fill of the device's memory.
Prediction predict_copy(const Device& device, double bytes, double memory_bytes);

// The L2 over a whole run: pages of 4 KiB, the least recently used give way. What a launch reads
// and the cache does not hold comes from memory; what is written goes there when it gives way.
class L2Cache {
 public:
  explicit L2Cache(const Device& device);
  // Bytes of memory that a launch with this footprint moves.
  double memory_bytes(const Footprint& footprint);

 private:
  struct Page {
    uint64_t number;
    double dirty_bytes;
  };
  size_t capacity_;        // pages
  std::list<Page> pages_;  // the most recently used first
  std::unordered_map<uint64_t, std::list<Page>::iterator> where_;
};

}  // namespace diffscm::softgpu
