#include "kernels/softgpu/block.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>

namespace diffscm::softgpu {
namespace {

// A warp that only waits for another one to change memory must not keep that one from running.
constexpr int kTurn = 1 << 16;  // instructions

}  // namespace

Block::Block(const Launch& l, std::span<InstructionCounters> c, Traffic* t)
    : launch(l),
      counters(c),
      traffic(t),
      warpgroups(l.program, l.warps(), l.shared_bytes()),
      warps_(l.warps()),
      registers_(size_t{l.warps()} * ((l.program.register_bytes + 63) / 64)),
      shared_((l.shared_bytes() + 63) / 64 + 1),
      local_(size_t{l.warps()} * kLanes * l.program.local_bytes),
      shared_bytes_(l.shared_bytes()),
      copies_(l.warps()),
      windows_(l.program.code.size()) {
  const size_t lines = registers_.size() / warps_.size();
  for (uint32_t n = 0; n < warps_.size(); ++n) {
    Warp& w = warps_[n];
    w.block = this;
    w.number = n;
    w.registers = reinterpret_cast<std::byte*>(registers_.data() + n * lines);
    w.constants = reinterpret_cast<const std::byte*>(launch.program.constants.data() +
                                                     launch.program.constants.size());
    w.slots = launch.program.slots.data();
  }
}

// Registers, shared and local memory start as NaN: what was never written is not 0 by luck.
void Block::start(Extent block_index) {
  index = block_index;
  std::memset(registers_.data(), 0xff, registers_.size() * sizeof(Line64));
  std::memset(shared_.data(), 0xff, shared_.size() * sizeof(Line64));
  std::memset(local_.data(), 0xff, local_.size());
  barriers_.fill({});
  warpgroups.clear();
  bulk_copies.clear();
  if (traffic != nullptr) traffic->l1.clear();
  const Extent &grid = launch.shape.grid, &size = launch.shape.block;
  const uint32_t threads = launch.threads();
  for (Warp& w : warps_) {
    const uint32_t first = w.number * kLanes;
    w.start(threads - first >= kLanes ? kAllLanes : (1u << (threads - first)) - 1);
    w.followed = launch.shape.early ? 0 : kAllLanes;
    copies_[w.number].pending.clear();
    copies_[w.number].committed.fill(0);
    const auto fill = [&](Special s, auto of_lane) {
      auto* lanes = w.at<uint32_t>(launch.program.special_slot(s));
      for (uint32_t l = 0; l < kLanes; ++l) lanes[l] = of_lane(l);
    };
    const auto all = [](uint32_t v) { return [v](uint32_t) { return v; }; };
    fill(Special::tid_x, [&](uint32_t l) { return (first + l) % size.x; });
    fill(Special::tid_y, [&](uint32_t l) { return (first + l) / size.x % size.y; });
    fill(Special::tid_z, [&](uint32_t l) { return (first + l) / (size.x * size.y); });
    fill(Special::ntid_x, all(size.x));
    fill(Special::ntid_y, all(size.y));
    fill(Special::ntid_z, all(size.z));
    fill(Special::ctaid_x, all(index.x));
    fill(Special::ctaid_y, all(index.y));
    fill(Special::ctaid_z, all(index.z));
    fill(Special::nctaid_x, all(grid.x));
    fill(Special::nctaid_y, all(grid.y));
    fill(Special::nctaid_z, all(grid.z));
    fill(Special::laneid, [](uint32_t l) { return l; });
    fill(Special::warpid, all(w.number));
    fill(Special::nwarpid, all(launch.warps()));
  }
}

void Block::run(Extent block_index) {
  start(block_index);
  for (;;) {
    bool progress = false, finished = true;
    for (Warp& w : warps_) {
      if (w.resume()) {
        progress = true;
        counters.empty() ? run_warp<false>(w) : run_warp<true>(w);
      }
      finished &= w.finished();
    }
    if (finished) {
      warpgroups.require_waited_for(warps_);
      return bulk_copies.require_waited_for();
    }
    if (!open_barriers() && !bulk_copies.carry_out() && !progress) report_deadlock();
  }
}

// One warp for a while: until all its splits wait, or its turn is over.
template <bool counted>
void Block::run_warp(Warp& w) {
  const Instruction* const code = launch.program.code.data();
  for (int turn = 0; turn < kTurn; ++turn) {
    const uint32_t pc = w.running.pc++;
    const Instruction& i = code[pc];
    uint32_t active = w.running.lanes;
    if (i.guarded) active &= w.predicate(i.guard) ^ (i.guard_negated ? kAllLanes : 0);
    if constexpr (counted) {
      ++counters[pc].executed;
      counters[pc].lanes += static_cast<uint64_t>(std::popcount(active));
    }
    if (active == 0) continue;
    w.active = active;
    i.run(w, i);
    if (!w.runs() && !w.resume()) return;
  }
}

void Block::arrive(Warp& w, uint32_t barrier, uint32_t threads) {
  Barrier& b = barriers_[barrier];
  if (b.arrived > 0 && b.threads != threads)
    w.fault(std::countr_zero(w.active),
            fmt::format("barrier {} for {} threads, and for {} by another warp", barrier, threads,
                        b.threads));
  b.threads = threads;
  b.arrived += static_cast<uint32_t>(std::popcount(w.active));
  w.wait_at(barrier);
}

bool Block::open_barriers() {
  uint32_t alive = 0;
  for (const Warp& w : warps_)
    alive += static_cast<uint32_t>(std::popcount(w.existing & ~w.exited));
  bool opened = false;
  for (uint32_t n = 0; n < barriers_.size(); ++n) {
    Barrier& b = barriers_[n];
    if (b.arrived == 0 || b.arrived < (b.threads ? b.threads : alive)) continue;
    b = {};
    for (Warp& w : warps_) w.open_barrier(n);
    opened = true;
  }
  return opened;
}

void Block::open_copies(uint32_t barrier) {
  for (Warp& w : warps_) w.open_copies(barrier);
}

void Block::report_deadlock() const {
  std::map<uint32_t, std::pair<uint32_t, uint32_t>> waiting;  // by instruction: lanes, warps
  uint32_t exited = 0;
  for (const Warp& w : warps_) {
    exited += static_cast<uint32_t>(std::popcount(w.exited));
    for (const Split& s : w.splits()) {
      auto& [lanes, warps] = waiting[s.state == Split::State::at_warp_barrier ? s.pc : s.pc - 1];
      lanes += static_cast<uint32_t>(std::popcount(s.lanes));
      ++warps;
    }
    for (const Join& j : w.joins())
      if (j.arrived != 0) {
        auto& [lanes, warps] = waiting[j.pc];
        lanes += static_cast<uint32_t>(std::popcount(j.arrived));
        ++warps;
      }
  }
  std::string who;
  for (const auto& [pc, count] : waiting)
    who += fmt::format("{}{} threads of {} warps wait at {} ({})", who.empty() ? "" : "; ",
                       count.first, count.second, launch.program.where(pc),
                       launch.program.origins[pc].opcode);
  fail("{}, block ({}, {}, {}): deadlock: {}; {} threads have exited{}", launch.program.name,
       index.x, index.y, index.z, who, exited, bulk_copies.lacking());
}

std::byte* Block::local(const Warp& w, int lane, uint64_t address, uint32_t bytes) {
  if (address + bytes > launch.program.local_bytes || address % bytes != 0)
    w.fault(lane, fmt::format("{} bytes at {:#x} of {} of local memory", bytes, address,
                              launch.program.local_bytes));
  return local(w, lane) + address;
}

std::byte* Block::param(const Warp& w, int lane, uint64_t address, uint32_t bytes) {
  if (address + bytes > launch.params.size() || address % bytes != 0)
    w.fault(lane, fmt::format("{} bytes at {} of {} of parameters", bytes, address,
                              launch.params.size()));
  return const_cast<std::byte*>(launch.params.data()) + address;  // only ever read
}

}  // namespace diffscm::softgpu
