// The checks of memory accesses, and how an access is counted.
#include <algorithm>
#include <bit>

#include "kernels/softgpu/block.h"
#include "kernels/softgpu/ptx/lanes.h"

namespace diffscm::softgpu {

// The allocation, or other memory that a kernel may reach, that an address lies in.
bool Block::find_window(uint64_t address, Window& window) const {
  const auto is_in = [&](const void* data, size_t bytes) {
    const auto begin = reinterpret_cast<uint64_t>(data);
    if (address - begin >= bytes) return false;
    window = {begin, begin + bytes};
    return true;
  };
  if (const Allocation* a = launch.memory.find(address))
    return is_in(reinterpret_cast<const void*>(a->begin), a->bytes);
  for (const Variable& v : launch.module.variables())
    if (is_in(v.data, v.bytes)) return true;
  return is_in(shared_.data(), shared_bytes_) || is_in(local_.data(), local_.size());
}

void Block::check_each_global(const Warp& w, const uint64_t* addresses, uint32_t bytes) {
  Window& window = windows_[w.instruction()];
  each_lane(w.active, [&](int l) {
    const uint64_t a = addresses[l];
    if (a < window.begin || a + bytes > window.end) {
      if (!find_window(a, window) || a + bytes > window.end)
        w.fault(l, fmt::format("{} bytes at address {:#x}: {}", bytes, a,
                               launch.memory.place(a + (a < window.end ? window.end - a : 0))));
      // The tables of the math library, variables of the module, are never written.
      if (launch.shape.early && launch.memory.find(a) != nullptr &&
          launch.program.origins[w.instruction()].opcode.starts_with("ld.global.nc"))
        w.fault(l,
                "the kernel may start early, and this does not see what the kernel ahead of it "
                "has written meanwhile: drop __restrict__ or __ldg");
    }
    if (a % bytes != 0)
      w.fault(l, fmt::format("address {:#x} is not aligned to {} bytes ({})", a, bytes,
                             launch.memory.place(a)));
  });
}

// What no kernel writes for another may be read before the wait: parameters, constants, and the
// block's own memory.
void Block::check_followed(const Warp& w, const uint64_t* addresses) const {
  if (launch.program.code[w.instruction()].kind == InstructionClass::param) return;
  const auto is_in = [](uint64_t address, const void* data, size_t bytes) {
    return address - reinterpret_cast<uint64_t>(data) < bytes;
  };
  each_lane(w.active & ~w.followed, [&](int l) {
    const uint64_t a = addresses[l];
    if (is_in(a, shared_.data(), shared_bytes_) || is_in(a, local_.data(), local_.size())) return;
    for (const Variable& v : launch.module.variables())
      if (v.constant && is_in(a, v.data, v.bytes)) return;
    w.fault(l,
            "the kernel may start before the one ahead of it is done, and has not waited for "
            "it: begin it with follow_previous_kernel()");
  });
}

void Block::check_each_shared(const Warp& w, const uint32_t* addresses, uint32_t bytes) {
  each_lane(w.active, [&](int l) {
    if (uint64_t{addresses[l]} + bytes > shared_bytes_)
      w.fault(l, fmt::format("{} bytes at {} of {} bytes of shared memory", bytes, addresses[l],
                             shared_bytes_));
    if (addresses[l] % bytes != 0)
      w.fault(l, fmt::format("shared address {} is not aligned to {} bytes", addresses[l], bytes));
  });
  w.fault(0, "an access that is wrong in no lane");  // not reached
}

void Block::check_bulk_copy(const Warp& w, int lane, const BulkCopy& copy) {
  if (copy.bytes == 0 || copy.bytes % 16 != 0)
    w.fault(lane, fmt::format("{} bytes: a multiple of 16 is needed", copy.bytes));
  if (copy.source % 16 != 0 || copy.target % 16 != 0)
    w.fault(lane, fmt::format("addresses {:#x} and, in shared memory, {} are not both aligned to "
                              "16 bytes",
                              copy.source, copy.target));
  if (uint64_t{copy.target} + copy.bytes > shared_bytes_)
    w.fault(lane, fmt::format("{} bytes at {} of {} bytes of shared memory", copy.bytes,
                              copy.target, shared_bytes_));
  Window window;
  if (!find_window(copy.source, window) || copy.source + copy.bytes > window.end)
    w.fault(lane, fmt::format("{} bytes at address {:#x}: {}", copy.bytes, copy.source,
                              launch.memory.place(std::max(copy.source, window.end))));
  if ((w.followed >> lane & 1) == 0) {
    std::array<uint64_t, kLanes> addresses;
    addresses.fill(copy.source);
    check_followed(w, addresses.data());
  }
  if (counters.empty()) return;
  const uint64_t first = copy.source / kSectorBytes;
  const uint64_t last = (copy.source + copy.bytes - 1) / kSectorBytes;
  for (uint64_t sector = first; sector <= last; ++sector) traffic->load(sector, false);
  InstructionCounters& c = counters[w.instruction()];
  c.sectors += last - first + 1;
  c.wavefronts += (copy.bytes + 127) / 128;
  c.ideal_wavefronts += (copy.bytes + 127) / 128;
  c.bytes += copy.bytes;
}

// What is written to shared memory, wgmma does not see at once.
void Block::note_shared(const Warp& w, const uint32_t* addresses, uint32_t bytes) {
  const InstructionClass kind = launch.program.code[w.instruction()].kind;
  if (kind != InstructionClass::store_shared && kind != InstructionClass::atomic) return;
  each_lane(w.active, [&](int l) { warpgroups.wrote(w.number, addresses[l], bytes); });
}

// 32-byte sectors that the request touches.
void Block::count_global(const Warp& w, const uint64_t* addresses, uint32_t bytes) {
  std::array<uint64_t, kLanes> sectors;
  size_t count = 0;
  each_lane(w.active, [&](int l) {
    const uint64_t sector = addresses[l] / 32;  // aligned accesses of up to 16 bytes touch one
    if (count == 0 || sectors[count - 1] != sector) sectors[count++] = sector;
  });
  std::sort(sectors.begin(), sectors.begin() + count);
  count =
      static_cast<size_t>(std::unique(sectors.begin(), sectors.begin() + count) - sectors.begin());
  const InstructionClass kind = launch.program.code[w.instruction()].kind;
  for (size_t k = 0; k < count; ++k) {
    if (kind != InstructionClass::store_global)
      traffic->load(sectors[k], kind == InstructionClass::load_global ||
                                    kind == InstructionClass::param ||
                                    kind == InstructionClass::async_copy_cached);
    if (kind == InstructionClass::store_global || kind == InstructionClass::atomic)
      traffic->store(sectors[k]);
  }
  InstructionCounters& c = counters[w.instruction()];
  c.sectors += count;
  c.bytes += bytes * static_cast<uint64_t>(std::popcount(w.active));
}

// Shared memory has 32 banks of 4-byte words; a pass serves one word of each. Lanes with 8 bytes
// are served in two halves of the warp, with 16 bytes in four quarters. Lanes that want the same
// word share it.
void Block::count_shared(const Warp& w, const uint32_t* addresses, uint32_t bytes) {
  const uint32_t lanes_at_once = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8;
  const uint32_t words = std::max(bytes / 4, 1u);
  uint64_t passes = 0, ideal = 0;
  for (uint32_t first = 0; first < kLanes; first += lanes_at_once) {
    const uint32_t group =
        w.active >> first & (lanes_at_once == 32 ? kAllLanes : (1u << lanes_at_once) - 1);
    if (group == 0) continue;
    std::array<uint32_t, 32> wanted;  // words
    size_t count = 0;
    each_lane(group, [&](int l) {
      for (uint32_t k = 0; k < words; ++k) wanted[count++] = addresses[first + l] / 4 + k;
    });
    std::sort(wanted.begin(), wanted.begin() + count);
    count =
        static_cast<size_t>(std::unique(wanted.begin(), wanted.begin() + count) - wanted.begin());
    std::array<uint8_t, 32> of_bank{};
    uint8_t most = 0;
    for (size_t k = 0; k < count; ++k) most = std::max(most, ++of_bank[wanted[k] % 32]);
    passes += most;
    ideal += (count + 31) / 32;
  }
  InstructionCounters& c = counters[w.instruction()];
  c.wavefronts += passes;
  c.ideal_wavefronts += ideal;
  c.bytes += bytes * static_cast<uint64_t>(std::popcount(w.active));
}

}  // namespace diffscm::softgpu
