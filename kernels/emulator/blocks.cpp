#include "kernels/emulator/blocks.h"

#include <algorithm>
#include <iterator>

namespace diffscm::kernels::emulator {

std::optional<Blocks::Block> Blocks::take(size_t bytes, size_t alignment) {
  if (bytes > SIZE_MAX / 2) return {};
  const size_t reserved = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  const auto gap =
      std::ranges::find_if(free_, [&](const auto& range) { return range.second >= reserved; });
  if (gap == free_.end()) return {};
  const auto [address, available] = *gap;
  free_.erase(gap);
  if (available > reserved) free_[address + reserved] = available - reserved;
  used_[address] = {bytes, reserved};
  bytes_used_ += reserved;
  return Block{address, bytes};
}

void Blocks::add(uintptr_t address, size_t bytes) {
  used_[address] = {bytes, bytes};
  bytes_used_ += bytes;
}

std::optional<Blocks::Block> Blocks::remove(uintptr_t address, bool managed) {
  const auto found = used_.find(address);
  if (found == used_.end()) return {};
  const auto [bytes, reserved] = found->second;
  used_.erase(found);
  bytes_used_ -= reserved;
  if (managed) {
    size_t size = reserved;
    auto after = free_.lower_bound(address);
    if (after != free_.end() && after->first == address + size) {
      size += after->second;
      after = free_.erase(after);
    }
    if (after != free_.begin() && std::prev(after)->first + std::prev(after)->second == address) {
      std::prev(after)->second += size;
    } else {
      free_[address] = size;
    }
  }
  return Block{address, bytes};
}

std::optional<Blocks::Block> Blocks::find(uintptr_t address) const {
  const auto after = used_.upper_bound(address);
  if (after == used_.begin()) return {};
  const auto& [start, block] = *std::prev(after);
  if (address - start >= block.reserved) return {};
  return Block{start, block.bytes};
}

}  // namespace diffscm::kernels::emulator
