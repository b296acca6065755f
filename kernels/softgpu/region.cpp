#include "kernels/softgpu/region.h"

#include "kernels/error.h"
#include "kernels/softgpu/refusal.h"

namespace diffscm::softgpu {

Region::Region(const Memory& memory, const void* address, size_t bytes, std::string_view role)
    : address_(reinterpret_cast<uintptr_t>(address)), bytes_(bytes) {
  const Allocation* a = memory.find(address_);
  demand(a != nullptr ? memory.holds(address, bytes)
                      : address != nullptr && !memory.in_range(address_),
         cudaErrorInvalidValue, "{} {} bytes at {}, which is {}", role, bytes, fmt::ptr(address),
         address == nullptr ? "null" : memory.place(address_));
  if (a == nullptr) return;
  kind_ = a->host ? Kind::pinned : Kind::device;
  allocation_ = a->number;
}

std::byte* Region::get(const Memory& memory) const {
  if (kind_ != Kind::pageable) {
    const Allocation* a = memory.find(address_);
    require(a != nullptr && a->number == allocation_,
            "a copy of {} bytes was queued or recorded, and before it ran, its {} memory was "
            "freed: {:#x} is {}",
            bytes_, kind_ == Kind::pinned ? "pinned" : "device", address_, memory.place(address_));
  }
  return reinterpret_cast<std::byte*>(address_);
}

}  // namespace diffscm::softgpu
