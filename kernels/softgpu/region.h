// Memory that queued or recorded work will read or write later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernels/softgpu/memory.h"

namespace diffscm::softgpu {

class Region {
 public:
  enum class Kind { device, pinned, pageable };

  // Refuses an address of the device's range whose `bytes` do not lie in one allocation.
  // role: "the copy reads"
  Region(const Memory& memory, const void* address, size_t bytes, std::string_view role);

  Kind kind() const { return kind_; }
  size_t bytes() const { return bytes_; }
  // When the work runs: throws Error if the allocation has been freed since. Of pageable memory
  // nobody knows.
  std::byte* get(const Memory& memory) const;

 private:
  Kind kind_ = Kind::pageable;
  uintptr_t address_;
  size_t bytes_;
  uint64_t allocation_ = 0;
};

}  // namespace diffscm::softgpu
