#include "kernels/softgpu/warpgroup.h"

#include <algorithm>

#include "kernels/softgpu/warp.h"

namespace diffscm::softgpu {
namespace {

bool has_products(const Program& program) {
  return std::any_of(program.code.begin(), program.code.end(),
                     [](const Instruction& i) { return i.kind == InstructionClass::warpgroup; });
}

}  // namespace

Warpgroups::Warpgroups(const Program& program, uint32_t warps, uint32_t shared_bytes) {
  if (!has_products(program)) return;
  products_.resize(warps);
  written_.resize(warps);
  writer_.resize(shared_bytes / 16 + 1);
}

void Warpgroups::clear() {
  for (WarpProducts& p : products_) p = {};
  for (auto& addresses : written_) addresses.clear();
  std::fill(writer_.begin(), writer_.end(), uint8_t{0});
}

void Warpgroups::require_waited_for(std::span<const Warp> warps) const {
  for (size_t n = 0; n < products_.size(); ++n)
    if (!products_[n].pending.empty())
      warps[n].fault(0, "the warp has ended without waiting for its wgmma");
}

void Warpgroups::wrote(uint32_t warp, uint32_t address, uint32_t bytes) {
  if (!in_use()) return;
  for (uint32_t at = address / 16; at <= (address + bytes - 1) / 16; ++at) {
    writer_[at] = static_cast<uint8_t>(warp + 1);
    written_[warp].push_back(at);
  }
}

void Warpgroups::fence(uint32_t warp) {
  if (!in_use()) return;
  for (const uint32_t at : written_[warp])
    if (writer_[at] == warp + 1) writer_[at] = 0;
  written_[warp].clear();
}

void Warpgroups::copied(uint32_t address, uint32_t bytes) {
  if (!in_use()) return;
  std::fill_n(writer_.begin() + address / 16, bytes / 16, uint8_t{0});
}

}  // namespace diffscm::softgpu
