#include "kernels/softgpu/bulk_copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "kernels/softgpu/block.h"

namespace diffscm::softgpu {
namespace {

constexpr int64_t kMost = (1 << 20) - 1;  // the range of a barrier's counts

// What a barrier's memory holds here: whoever overwrites it is found out.
constexpr uint64_t kBits = 0x72656972726162;

}  // namespace

void BulkCopies::clear() {
  barriers_.clear();
  copies_.clear();
}

void BulkCopies::initialise(const Warp& w, int lane, uint32_t address, uint32_t arrivals) {
  if (arrivals < 1 || arrivals > kMost)
    w.fault(lane, fmt::format("an mbarrier for {} arrivals: 1 to {}", arrivals, kMost));
  std::byte* const memory = block_.shared() + address;
  const auto same = std::ranges::find(barriers_, address, &CopyBarrier::address);
  if (same != barriers_.end()) {
    if (std::memcmp(memory, &kBits, sizeof(kBits)) == 0)
      w.fault(lane, fmt::format("the mbarrier at {} is initialised already", address));
    barriers_.erase(same);
  }
  std::memcpy(memory, &kBits, sizeof(kBits));
  barriers_.push_back({.address = address,
                       .arrivals = arrivals,
                       .missing_arrivals = arrivals,
                       .initialised_by = w.number});
}

void BulkCopies::fence(const Warp& w) {
  for (CopyBarrier& barrier : barriers_) barrier.fenced |= barrier.initialised_by == w.number;
}

CopyBarrier& BulkCopies::at(const Warp& w, int lane, uint32_t address) {
  const auto found = std::ranges::find(barriers_, address, &CopyBarrier::address);
  if (found == barriers_.end())
    w.fault(lane, fmt::format("the mbarrier at {} is not initialised", address));
  if (std::memcmp(block_.shared() + address, &kBits, sizeof(kBits)) != 0)
    w.fault(lane, fmt::format("the mbarrier at {} was overwritten", address));
  return *found;
}

void BulkCopies::expect(const Warp& w, int lane, uint32_t address, uint32_t bytes) {
  CopyBarrier& barrier = at(w, lane, address);
  if (barrier.missing_arrivals == 0)
    w.fault(lane, "copies are expected before those of the mbarrier's last phase were waited for");
  if (barrier.missing_bytes + bytes > kMost)
    w.fault(lane, fmt::format("{} bytes are expected, the mbarrier counts up to {}",
                              barrier.missing_bytes + bytes, kMost));
  barrier.missing_bytes += bytes;
  --barrier.missing_arrivals;
  finish_phase(barrier);
}

void BulkCopies::start(const Warp& w, int lane, const BulkCopy& copy) {
  const CopyBarrier& barrier = at(w, lane, copy.barrier);
  if (!barrier.fenced)
    w.fault(lane, fmt::format("warp {}, which initialised the mbarrier at {}, did not call "
                              "fence.mbarrier_init since: the copy may not see it",
                              barrier.initialised_by, barrier.address));
  if (block_.warpgroups.in_use())
    for (uint32_t at = copy.target; at < copy.target + copy.bytes; at += 16)
      if (const int writer = block_.warpgroups.unfenced_writer(at); writer >= 0)
        w.fault(lane, fmt::format("byte {} of shared memory was written by warp {}, which did not "
                                  "call fence.proxy.async since: that may come after the copy",
                                  at, writer));
  std::memset(block_.shared() + copy.target, 0xff, copy.bytes);
  copies_.push_back(copy);
}

bool BulkCopies::complete(const Warp& w, int lane, uint32_t address, uint32_t parity) {
  CopyBarrier& barrier = at(w, lane, address);
  if (parity > 1) w.fault(lane, fmt::format("phase {}: 0 or 1 is needed", parity));
  if (barrier.phase != parity) return true;
  barrier.awaited = true;
  return false;
}

bool BulkCopies::carry_out() {
  for (CopyBarrier& barrier : barriers_) {
    if (!barrier.awaited) continue;
    const auto due = std::ranges::stable_partition(
        copies_, [&](const BulkCopy& copy) { return copy.barrier != barrier.address; });
    if (due.empty()) continue;
    for (const BulkCopy& copy : due) {
      std::memcpy(block_.shared() + copy.target, reinterpret_cast<const void*>(copy.source),
                  copy.bytes);
      block_.warpgroups.copied(copy.target, copy.bytes);
      barrier.missing_bytes -= copy.bytes;
    }
    copies_.erase(due.begin(), due.end());
    finish_phase(barrier);
    return true;
  }
  return false;
}

void BulkCopies::finish_phase(CopyBarrier& barrier) {
  if (barrier.missing_arrivals > 0 || barrier.missing_bytes > 0) return;
  if (barrier.missing_bytes < 0)
    fail(fmt::format("{} bytes more than were expected have been copied for the mbarrier at {}",
                     -barrier.missing_bytes, barrier.address));
  barrier.missing_arrivals = barrier.arrivals;
  barrier.phase ^= 1;
  barrier.awaited = false;
  block_.open_copies(barrier.address);
}

void BulkCopies::require_waited_for() const {
  if (!copies_.empty())
    fail(fmt::format("the block has ended without waiting for the copy that was started at {}",
                     block_.launch.program.where(copies_.front().instruction)));
}

std::string BulkCopies::lacking() const {
  std::string text;
  for (const CopyBarrier& barrier : barriers_)
    if (barrier.awaited)
      text += fmt::format("; the mbarrier at {} lacks {} arrivals and {} bytes", barrier.address,
                          barrier.missing_arrivals, barrier.missing_bytes);
  return text;
}

void BulkCopies::fail(const std::string& what) const {
  const Extent& index = block_.index;
  diffscm::fail("{}, block ({}, {}, {}): {}", block_.launch.program.name, index.x, index.y, index.z,
                what);
}

}  // namespace diffscm::softgpu
