#include "kernels/softgpu/traffic.h"

#include <algorithm>
#include <bit>

namespace diffscm::softgpu {
namespace {

constexpr size_t kLineBytes = 128;

}  // namespace

void Footprint::add(const Footprint& other) {
  for (const auto& [number, from] : other.pages_) {
    Page& to = pages_[number];
    for (size_t k = 0; k < 2; ++k) {
      to.read[k] |= from.read[k];
      to.written[k] |= from.written[k];
    }
  }
  last_page_ = ~uint64_t{0};  // pages may have moved
}

uint64_t Footprint::read_sectors() const {
  uint64_t sectors = 0;
  for (const auto& [number, page] : pages_)
    for (const uint64_t bits : page.read) sectors += static_cast<uint64_t>(std::popcount(bits));
  return sectors;
}

uint64_t Footprint::written_sectors() const {
  uint64_t sectors = 0;
  for (const auto& [number, page] : pages_)
    for (const uint64_t bits : page.written) sectors += static_cast<uint64_t>(std::popcount(bits));
  return sectors;
}

L1Cache::L1Cache(size_t bytes) : sets_(std::max<size_t>(bytes / (kLineBytes * kWays), 1)) {
  lines_.resize(sets_ * kWays);
}

void L1Cache::clear() {
  std::fill(lines_.begin(), lines_.end(), Line{});
}

bool L1Cache::read(uint64_t sector) {
  constexpr uint64_t kSectors = kLineBytes / kSectorBytes;
  const uint64_t number = sector / kSectors;
  const auto bit = static_cast<uint8_t>(1u << sector % kSectors);
  const auto set = lines_.begin() + static_cast<ptrdiff_t>(number % sets_ * kWays);
  auto line = std::find_if(set, set + kWays, [&](const Line& l) { return l.number == number; });
  if (line == set + kWays) {
    line = std::min_element(set, set + kWays,
                            [](const Line& a, const Line& b) { return a.used < b.used; });
    line->number = number;
    line->sectors = 0;
  }
  line->used = ++time_;
  const bool hit = line->sectors & bit;
  line->sectors |= bit;
  return hit;
}

}  // namespace diffscm::softgpu
