#include "kernels/softgpu/predict.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>

#include "kernels/softgpu/machine_cost.h"

namespace diffscm::softgpu {
namespace {

// Shares of a peak that one limit alone would let a kernel reach.
struct Reached {
  double issue = 0.55;      // the rest are cycles in which no warp is ready
  double matrix = 0.64;     // mma.sync: two each three cycles; only wgmma feeds Hopper fully
  double warpgroup = 0.80;  // wgmma: large products of NVIDIA's libraries, which heat limits
  double memory = 0.90;     // of a large copy
};
constexpr Reached kReached;

// How far limits overlap: a launch takes the norm of this order of what each alone would need. At 1
// they would follow one another, at infinity all but the largest would be hidden.
constexpr double kOverlap = 3;
constexpr double kL2BytesPerCycle = 20;  // and multiprocessor: 5 TB/s on an H100
constexpr double kLaunch_us = 1.5;  // between a graph's nodes: the last block ends, the next begins
constexpr double kSchedulers = 4;

// Cycles until a warp's next instruction can issue, on average: results are needed soon, but not at
// once; loads are issued a few at a time. Barriers, mma and copies in the background cost no more
// than any other: others' work hides them.
double cycles_of(InstructionClass c) {
  switch (c) {
    case InstructionClass::load_global:
    case InstructionClass::atomic:
      return 200;
    case InstructionClass::load_shared:
    case InstructionClass::load_matrix:
    case InstructionClass::shuffle:
      return 12;
    case InstructionClass::special:
      return 6;
    default:
      return 2.4;
  }
}

// Cycles of a multiprocessor's units that have fewer than 32 lanes per scheduler.
double special_cycles(const Device& device, InstructionClass c) {
  if (c == InstructionClass::special) return 2;  // 16 lanes
  if (c == InstructionClass::float64) return device.major >= 9 ? 0.5 : 1;
  return 0;
}

// Sets the time and the limit from what each limit needs.
void combine(Prediction& p) {
  const auto most = std::max_element(p.us_of.begin(), p.us_of.end());
  p.limit = static_cast<Limit>(most - p.us_of.begin());
  p.us = kLaunch_us;
  if (*most <= 0) return;
  double sum = 0;
  for (const double us : p.us_of) sum += std::pow(us / *most, kOverlap);
  p.us += *most * std::pow(sum, 1 / kOverlap);
}

}  // namespace

const char* name(Limit limit) {
  static const char* const names[] = {"issue", "matrix", "special", "shared",
                                      "L1",    "L2",     "memory",  "latency"};
  static_assert(std::size(names) == kLimits);
  return names[static_cast<size_t>(limit)];
}

Demand demand(const Device& device, const Program& program, const KernelCounters& counters,
              int blocks_per_multiprocessor) {
  Demand d;
  d.blocks = counters.blocks;
  d.warps = counters.warps;
  d.blocks_per_multiprocessor = std::max(blocks_per_multiprocessor, 1);
  for (size_t i = 0; i < counters.instructions.size(); ++i) {
    const InstructionCounters& c = counters.instructions[i];
    if (c.executed == 0) continue;
    const InstructionClass kind = program.code[i].kind;
    const double executed = static_cast<double>(c.executed);
    const double instructions = executed * machine_instructions(program.origins[i].opcode);
    d.instructions += instructions;
    d.special += executed * special_cycles(device, kind);
    (kind == InstructionClass::warpgroup ? d.warpgroup : d.matrix) +=
        executed * mma_instructions(program.origins[i].opcode);
    d.shared += static_cast<double>(c.wavefronts);
    if (is_global(kind)) d.l1 += static_cast<double>(c.sectors);
    d.warp_cycles += instructions * cycles_of(kind);
  }
  d.warp_cycles /= std::max(static_cast<double>(d.warps), 1.0);
  d.l2_bytes = static_cast<double>(kSectorBytes) *
               static_cast<double>(counters.l2_read_sectors + counters.l2_written_sectors);
  return d;
}

Prediction predict(const Device& device, const Demand& d) {
  Prediction p;
  const bool matrix = d.matrix + d.warpgroup > 0;
  const double hz =  // cycles per microsecond
      (matrix ? device.matrix_clock_ghz : device.clock_ghz) * 1e3;
  const auto blocks = static_cast<double>(std::max<uint64_t>(d.blocks, 1));
  // The busiest multiprocessor's share of the work, in whole blocks.
  const double share = std::ceil(blocks / device.multiprocessors) / blocks;
  const double side_by_side =
      static_cast<double>(device.multiprocessors * d.blocks_per_multiprocessor);
  const auto us = [&](double cycles) { return cycles * share / hz; };
  const double mma_per_cycle =
      device.bf16_tflops * 1e6 / (4096.0 * device.multiprocessors * hz);  // 16 * 8 * 16 * 2 FLOP
  auto of = [&](Limit l) -> double& { return p.us_of[static_cast<size_t>(l)]; };
  of(Limit::issue) = us(d.instructions / kSchedulers) / kReached.issue;
  of(Limit::matrix) =
      us((d.matrix / kReached.matrix + d.warpgroup / kReached.warpgroup) / mma_per_cycle);
  of(Limit::special) = us(d.special);
  of(Limit::shared) = us(d.shared);
  of(Limit::l1) = us(d.l1 / 4);
  of(Limit::l2) = us(d.l2_bytes / kL2BytesPerCycle);
  of(Limit::memory) = d.memory_bytes / (device.memory_gb_per_s * 1e3 * kReached.memory);
  of(Limit::latency) = d.warp_cycles * std::ceil(blocks / side_by_side) / hz;
  combine(p);
  return p;
}

Prediction predict_copy(const Device& device, double bytes, double memory_bytes) {
  Prediction p;
  auto of = [&](Limit l) -> double& { return p.us_of[static_cast<size_t>(l)]; };
  of(Limit::l2) = bytes / (kL2BytesPerCycle * device.multiprocessors * device.clock_ghz * 1e3);
  of(Limit::memory) = memory_bytes / (device.memory_gb_per_s * 1e3 * kReached.memory);
  combine(p);
  return p;
}

// A part of the cache is always in use for something else.
L2Cache::L2Cache(const Device& device) : capacity_(device.l2_bytes * 8 / 10 / kPageBytes) {}

double L2Cache::memory_bytes(const Footprint& footprint) {
  double bytes = 0;
  std::vector<uint64_t> numbers;
  for (const auto& [number, page] : footprint.pages()) numbers.push_back(number);
  std::sort(numbers.begin(), numbers.end());
  for (const uint64_t number : numbers) {
    const Footprint::Page& touched = footprint.pages().at(number);
    const auto sector_bytes = [](const std::array<uint64_t, 2>& bits) {
      return static_cast<double>(kSectorBytes) * (std::popcount(bits[0]) + std::popcount(bits[1]));
    };
    const auto found = where_.find(number);
    if (found != where_.end()) {
      pages_.splice(pages_.begin(), pages_, found->second);
    } else {
      bytes += sector_bytes(touched.read);
      if (pages_.size() >= capacity_) {
        bytes += pages_.back().dirty_bytes;
        where_.erase(pages_.back().number);
        pages_.pop_back();
      }
      pages_.push_front({number, 0});
      where_[number] = pages_.begin();
    }
    Page& page = pages_.front();
    page.dirty_bytes = std::max(page.dirty_bytes, sector_bytes(touched.written));
  }
  return bytes;
}

}  // namespace diffscm::softgpu
