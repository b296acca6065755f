#include "kernels/emulator/race.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/emulator/block.h"
#include "kernels/emulator/memory.h"
#include "kernels/emulator/shared_memory.h"
#include "kernels/emulator/source_line.h"

namespace diffscm::kernels::emulator::race {
namespace {

constexpr size_t kGranule = 2;  // bytes per cell: a bf16

// When, by whom and from where an access was made.
struct Stamp {
  uint32_t serial = 0;  // of the block, counted over the program's life; 0: never
  uint32_t generation = 0;
  uint32_t clock = 0;
  uint16_t thread = 0;
  uint8_t bytes = 0;  // which of the granule's, as bits
  Access kind = Access::read;
  const void* pc = nullptr;
  uint32_t phase = 0;  // of a bulk copy: that which its bytes belong to; 0: of none
};

struct Cell {
  Stamp write;
  // The last read, the last by another thread, the last by another warp.
  std::array<Stamp, 3> read;
  // Shared memory only.
  uint32_t serial = 0;  // of the block that all this is about
  uint8_t written = 0;  // bytes that the block has written, as bits
  Stamp flight;         // a cp.async or bulk copy that has not ended; bytes == 0: none
};

// What one block released by an atomic after a fence.
struct Release {
  uint32_t generation = 0;
  uint16_t thread = 0;
};
using Releases = std::map<uint32_t, Release>;  // by the block's serial

struct State {
  uint32_t first_serial = 1;                // of the launch under way
  std::vector<emu::uint3> blocks;           // of the launch, by serial - first_serial
  uint32_t serial = 0, generation = 0;      // of the running block: barriers passed
  std::array<uint32_t, kMaxThreads> clock;  // per thread: __syncwarps passed, plus 1
  // seen[t][l]: the clock of lane l of t's warp that thread t is ordered after.
  std::array<std::array<uint32_t, 32>, kMaxThreads> seen;
  std::array<bool, kMaxThreads> fenced;
  std::array<std::vector<uint32_t>, kMaxThreads> waited;  // phases, since the last barrier
  bool any_waited = false;
  Releases acquired;
  std::unordered_map<const void*, Releases> channels;  // by the atomic's address
  std::vector<Cell> shared;
  static constexpr size_t kPage = 4096;
  std::unordered_map<uintptr_t, std::unique_ptr<std::array<Cell, kPage / kGranule>>> pages;
};

State& state() {
  static State value;
  return value;
}

bool in_shared(uintptr_t address) {
  const auto base = reinterpret_cast<uintptr_t>(shared_block.data);
  return address - base < shared_block.bytes;
}

Cell& cell_of(uintptr_t address) {
  State& s = state();
  if (in_shared(address)) {
    const size_t i = (address - reinterpret_cast<uintptr_t>(shared_block.data)) / kGranule;
    if (i >= s.shared.size()) s.shared.resize((shared_block.bytes + 1) / kGranule + 1);
    return s.shared[i];
  }
  auto& page = s.pages[address / State::kPage];
  if (!page) page = std::make_unique<std::array<Cell, State::kPage / kGranule>>();
  return (*page)[address % State::kPage / kGranule];
}

// Calls f(cell, bytes of it as bits) for each cell that the range touches.
template <class F>
void for_each_cell(const void* address, size_t bytes, const F& f) {
  auto at = reinterpret_cast<uintptr_t>(address);
  const uintptr_t end = at + bytes;
  while (at < end) {
    const uintptr_t next = std::min(end, (at / kGranule + 1) * kGranule);
    const unsigned first = at % kGranule, count = static_cast<unsigned>(next - at);
    f(cell_of(at), static_cast<uint8_t>(((1u << count) - 1) << first));
    at = next;
  }
}

// Whether what `stamp` stands for is ordered before what the thread does now.
bool ordered(const Stamp& stamp, unsigned thread) {
  const State& s = state();
  if (stamp.serial < s.first_serial) return true;  // nothing, or an earlier launch
  if (stamp.serial != s.serial) {
    const auto found = s.acquired.find(stamp.serial);
    return found != s.acquired.end() &&
           (stamp.generation < found->second.generation || stamp.thread == found->second.thread);
  }
  if (stamp.generation < s.generation) return true;
  if (stamp.phase != 0)
    return std::ranges::find(s.waited[thread], stamp.phase) != s.waited[thread].end();
  return stamp.thread == thread ||
         (stamp.thread / 32 == thread / 32 && stamp.clock <= s.seen[thread][stamp.thread % 32]);
}

const char* word(Access kind) {
  switch (kind) {
    case Access::read:
      return "read";
    case Access::write:
      return "write";
    case Access::atomic:
      return "atomic operation";
  }
  return "";
}

std::string where(const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  if (in_shared(at))
    return fmt::format("byte {} of shared memory",
                       at - reinterpret_cast<uintptr_t>(shared_block.data));
  const std::string place = device_place(address);
  if (!place.empty()) return place;
  return fmt::format("global memory at {}", address);
}

std::string who(const Stamp& stamp) {
  const State& s = state();
  const emu::dim3& size = Block::running()->launch().block;
  std::string text = fmt::format("thread ({},{},{})", stamp.thread % size.x,
                                 stamp.thread / size.x % size.y, stamp.thread / size.x / size.y);
  if (stamp.serial != s.serial) {
    const emu::uint3& block = s.blocks[stamp.serial - s.first_serial];
    text = fmt::format("block ({},{},{}), ", block.x, block.y, block.z) + text;
  }
  return text;
}

[[noreturn]] void report(const void* address, size_t bytes, Access kind, const void* pc,
                         const Stamp& other) {
  const bool same_block = other.serial == state().serial;
  Block::running()->stop(
      fmt::format("data race: {} of {} bytes, {}, and the {} by {} at {} are not ordered by {}",
                  word(kind), bytes, where(address), word(other.kind), who(other),
                  place({nullptr, 0, other.pc}),
                  !same_block        ? "anything: blocks of a launch run in any order"
                  : other.phase != 0 ? "wait_for_copies() or __syncthreads()"
                  : other.thread / 32 == Block::running()->self().rank / 32
                      ? "__syncthreads() or __syncwarp()"
                      : "__syncthreads()"),
      {nullptr, 0, pc},
      fmt::format("  this access:  {}\n  the other:    {}", place_with_callers({nullptr, 0, pc}),
                  place_with_callers({nullptr, 0, other.pc})));
}

bool of_interest(const Block* block, const void* address) {
  if (block == nullptr || block->on_running_stack(address)) return false;
  // threadIdx and its like: thread_local variables of the program, side by side.
  const auto at = reinterpret_cast<uintptr_t>(address);
  return at - (reinterpret_cast<uintptr_t>(&emu::threadIdx) - 4096) >= 8192;
}

Stamp stamp_of(unsigned thread, uint8_t bytes, Access kind, const void* pc) {
  const State& s = state();
  return {s.serial, s.generation, s.clock[thread], static_cast<uint16_t>(thread), bytes, kind, pc,
          0};
}

void check(const Stamp& earlier, uint8_t bytes, unsigned thread, const void* address, size_t size,
           Access kind, const void* pc) {
  const bool both_atomic = earlier.kind == Access::atomic && kind == Access::atomic;
  if ((earlier.bytes & bytes) != 0 && !both_atomic && !ordered(earlier, thread))
    report(address, size, kind, pc, earlier);
}

void remember_read(Cell& cell, const Stamp& stamp) {
  auto& [last, other_thread, other_warp] = cell.read;
  if (last.serial != 0 && (last.thread != stamp.thread || last.serial != stamp.serial)) {
    other_thread = last;
    if (last.thread / 32 != stamp.thread / 32 || last.serial != stamp.serial) other_warp = last;
  }
  last = stamp;
}

void remember_write(Cell& cell, const Stamp& stamp) {
  cell.write = stamp;
  cell.written |= stamp.bytes;
}

// Orders the block after what others released through this atomic, and releases what it did itself
// if a fence says so: the pattern by which the last block of a grid adds up what all have written.
void order_blocks(const void* address, unsigned thread) {
  State& s = state();
  Releases& channel = s.channels[address];
  s.acquired.insert(channel.begin(), channel.end());
  if (!s.fenced[thread]) return;
  channel.insert(s.acquired.begin(), s.acquired.end());
  channel[s.serial] = {s.generation, static_cast<uint16_t>(thread)};
}

}  // namespace

void begin_launch() {
  State& s = state();
  s.first_serial = s.serial + 1;
  s.blocks.clear();
  s.channels.clear();
}

void begin_block(unsigned threads) {
  State& s = state();
  ++s.serial;
  s.blocks.push_back(emu::blockIdx);
  s.generation = 0;
  s.acquired.clear();
  for (unsigned t = 0; t < threads; ++t) {
    s.clock[t] = 1;
    s.seen[t].fill(0);
    s.fenced[t] = false;
    s.waited[t].clear();
  }
}

void barrier() {
  State& s = state();
  ++s.generation;
  if (!std::exchange(s.any_waited, false)) return;
  for (auto& phases : s.waited) phases.clear();
}

void sync_warp(unsigned warp, unsigned mask) {
  State& s = state();
  std::array<uint32_t, 32> joined{};
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const unsigned thread = 32 * warp + lane;
    for (unsigned i = 0; i < 32; ++i) joined[i] = std::max(joined[i], s.seen[thread][i]);
    joined[lane] = std::max(joined[lane], s.clock[thread]++);
  }
  for (unsigned lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) s.seen[32 * warp + lane] = joined;
}

void access(const void* address, size_t bytes, Access kind, const void* pc) {
  Block* const block = Block::running();
  if (!of_interest(block, address)) return;
  const State& s = state();
  const unsigned thread = block->self().rank;
  const bool shared = in_shared(reinterpret_cast<uintptr_t>(address));
  for_each_cell(address, bytes, [&](Cell& cell, uint8_t touched) {
    if (shared) {
      // What earlier blocks did there is no concern of this one.
      if (cell.serial != s.serial) {
        cell = {};
        cell.serial = s.serial;
      }
      if ((cell.flight.bytes & touched) != 0)
        block->stop(fmt::format("{} of {} bytes, {}: the copy which {} started at {} has not "
                                "been waited for",
                                word(kind), bytes, where(address), who(cell.flight),
                                place({nullptr, 0, cell.flight.pc})),
                    {nullptr, 0, pc});
      if (kind != Access::write && (cell.written & touched) != touched)
        block->stop(fmt::format("{} of {} bytes, {}, which no thread of the block has written yet",
                                word(kind), bytes, where(address)),
                    {nullptr, 0, pc});
    }
    check(cell.write, touched, thread, address, bytes, kind, pc);
    const Stamp stamp = stamp_of(thread, touched, kind, pc);
    if (kind == Access::read) {
      remember_read(cell, stamp);
    } else {
      for (const Stamp& read : cell.read) check(read, touched, thread, address, bytes, kind, pc);
      remember_write(cell, stamp);
    }
  });
  if (kind == Access::atomic) order_blocks(address, thread);
}

void fence() {
  state().fenced[Block::running()->self().rank] = true;
}

void async_start(const void* address, size_t bytes, const void* pc) {
  access(address, bytes, Access::write, pc);
  const unsigned thread = Block::running()->self().rank;
  for_each_cell(address, bytes, [&](Cell& cell, uint8_t touched) {
    cell.flight = stamp_of(thread, touched, Access::write, pc);
  });
}

void async_end(const void* address, size_t bytes, const void* pc) {
  for_each_cell(address, bytes, [&](Cell& cell, uint8_t) { cell.flight = {}; });
  access(address, bytes, Access::write, pc);
}

void bulk_end(const void* address, size_t bytes, const void* pc, unsigned thread, unsigned phase) {
  for_each_cell(address, bytes, [&](Cell& cell, uint8_t touched) {
    cell.flight = {};
    Stamp stamp = stamp_of(thread, touched, Access::write, pc);
    stamp.phase = phase;
    remember_write(cell, stamp);
  });
}

void waited_for(unsigned phase) {
  State& s = state();
  s.waited[Block::running()->self().rank].push_back(phase);
  s.any_waited = true;
}

}  // namespace diffscm::kernels::emulator::race
