#include "kernels/emulator/bulk_copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "kernels/emulator/block.h"
#include "kernels/emulator/memory.h"
#include "kernels/emulator/race.h"
#include "kernels/emulator/shared_memory.h"

namespace diffscm::kernels::emulator {
namespace {

// What a barrier's memory holds: whoever overwrites it is found out.
constexpr uint64_t kBits = 0x72656972726162;

}  // namespace

void BulkCopies::add(void* at, int arrivals) {
  std::erase_if(barriers_, [=](const Barrier& b) { return b.at == at; });
  std::memcpy(at, &kBits, sizeof(kBits));
  barriers_.push_back({.at = at, .arrivals = arrivals});
  begin_phase(barriers_.back());
  barriers_.back().phase = 0;
}

BulkCopies::Barrier* BulkCopies::find(void* at) {
  const auto found = std::ranges::find(barriers_, at, &Barrier::at);
  if (found == barriers_.end() || std::memcmp(at, &kBits, sizeof(kBits)) != 0) return nullptr;
  return &*found;
}

BulkCopies::Barrier* BulkCopies::carry_out() {
  for (Barrier& barrier : barriers_) {
    if (!barrier.awaited) continue;
    const auto first = std::ranges::stable_partition(
        copies_, [&](const Copy& copy) { return copy.barrier != barrier.at; });
    if (first.empty()) continue;
    for (const Copy& copy : first) {
      std::memcpy(copy.to, copy.from, copy.bytes);
      barrier.missing_bytes -= static_cast<int64_t>(copy.bytes);
      if (race::kChecked)
        race::bulk_end(copy.to, copy.bytes, copy.site.pc, copy.thread, barrier.number);
    }
    copies_.erase(first.begin(), first.end());
    return &barrier;
  }
  return nullptr;
}

void BulkCopies::begin_phase(Barrier& barrier) {
  barrier.last = barrier.number;
  barrier.number = ++phases_;
  barrier.missing_arrivals = barrier.arrivals;
  barrier.phase ^= 1;
  barrier.awaited = false;
}

}  // namespace diffscm::kernels::emulator

namespace diffscm::kernels::emu {

using emulator::Block, emulator::BulkCopies, emulator::Site;

namespace {

constexpr int kMostBytes = (1 << 20) - 1;  // the range of a barrier's count (PTX ISA, "mbarrier")

void require_aligned(const void* address, size_t unit, Site site) {
  if (reinterpret_cast<uintptr_t>(address) % unit != 0)
    Block::running()->fail(
        fmt::format("misaligned: {} is not a multiple of {}", fmt::ptr(address), unit), site);
}

void require_shared(const void* address, size_t bytes, const char* what, Site site) {
  const auto at = reinterpret_cast<uintptr_t>(address) -
                  reinterpret_cast<uintptr_t>(emulator::shared_block.data);
  if (at >= emulator::shared_block.bytes || bytes > emulator::shared_block.bytes - at)
    Block::running()->fail(fmt::format("{} of {} bytes does not lie in the {} of shared memory",
                                       what, bytes, emulator::shared_block.bytes),
                           site);
}

BulkCopies::Barrier& barrier_at(void* at, Site site) {
  BulkCopies::Barrier* const barrier = Block::running()->bulk_copies.find(at);
  if (barrier == nullptr)
    Block::running()->fail("the barrier is not initialised, or was overwritten", site);
  if (emulator::race::kChecked)
    emulator::race::access(at, sizeof(uint64_t), emulator::race::Access::read, site.pc);
  return *barrier;
}

}  // namespace

void emulate_initialise(void* barrier, int arrivals, const char* file, int line) {
  const Site site{file, line, __builtin_return_address(0)};
  Block& block = *Block::running();
  require_aligned(barrier, 8, site);
  require_shared(barrier, 8, "a barrier", site);
  if (arrivals < 1 || arrivals > kMostBytes)
    block.fail(fmt::format("a barrier for {} arrivals", arrivals), site);
  if (emulator::race::kChecked)
    emulator::race::access(barrier, 8, emulator::race::Access::write, site.pc);
  if (block.bulk_copies.find(barrier) != nullptr)
    block.fail("the barrier is initialised already", site);
  block.bulk_copies.add(barrier, arrivals);
}

void emulate_expect_copies(void* at, int bytes, const char* file, int line) {
  const Site site{file, line, __builtin_return_address(0)};
  BulkCopies::Barrier& barrier = barrier_at(at, site);
  if (barrier.missing_arrivals == 0)
    Block::running()->fail(
        "expect_copies() before the copies of the barrier's last phase were waited for", site);
  if (bytes < 0 || barrier.missing_bytes + bytes > kMostBytes)
    Block::running()->fail(
        fmt::format("{} bytes to expect: at most {}", barrier.missing_bytes + bytes, kMostBytes),
        site);
  barrier.missing_bytes += bytes;
  --barrier.missing_arrivals;
  Block::running()->complete_phase(barrier, site);
}

void emulate_bulk_copy(void* shared, const void* global, int bytes, void* barrier, const char* file,
                       int line) {
  const Site site{file, line, __builtin_return_address(0)};
  Block& block = *Block::running();
  require_aligned(shared, 16, site);
  require_aligned(global, 16, site);
  if (bytes <= 0 || bytes % 16 != 0)
    block.fail(fmt::format("a bulk copy of {} bytes: a multiple of 16 is needed", bytes), site);
  const auto count = static_cast<size_t>(bytes);
  require_shared(shared, count, "a bulk copy's target", site);
  barrier_at(barrier, site);
  if (emulator::race::kChecked) {
    emulator::race::access(global, count, emulator::race::Access::read, site.pc);
    emulator::race::async_start(shared, count, site.pc);
  }
  emulator::poison(shared, count);
  block.bulk_copies.start({.to = shared,
                           .from = global,
                           .bytes = count,
                           .barrier = barrier,
                           .thread = block.self().rank,
                           .site = site});
}

void emulate_wait_for_copies(void* at, int phase, const char* file, int line) {
  const Site site{file, line, __builtin_return_address(0)};
  BulkCopies::Barrier& barrier = barrier_at(at, site);
  if (phase != 0 && phase != 1)
    Block::running()->fail(fmt::format("phase {}: 0 or 1 is needed", phase), site);
  const bool complete = barrier.phase != phase;
  const unsigned awaited = complete ? barrier.last : barrier.number;
  if (!complete) Block::running()->wait_for_copies(barrier, site);
  if (emulator::race::kChecked) emulator::race::waited_for(awaited);
}

}  // namespace diffscm::kernels::emu
