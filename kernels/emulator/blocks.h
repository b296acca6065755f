// Which blocks of device memory exist, and where the free ones of a range of addresses are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

namespace diffscm::kernels::emulator {

class Blocks {
 public:
  struct Block {
    uintptr_t address;
    size_t bytes;
  };

  // The range from which take() gives.
  void manage(uintptr_t address, size_t bytes) { free_[address] = bytes; }

  // A block from the first gap that holds it.
  std::optional<Block> take(size_t bytes, size_t alignment);
  // One that came from elsewhere.
  void add(uintptr_t address, size_t bytes);
  // Forgets the block that starts at `address`; none does: nothing. Its range becomes free if
  // `managed`.
  std::optional<Block> remove(uintptr_t address, bool managed);

  // The block that contains the address.
  std::optional<Block> find(uintptr_t address) const;
  size_t bytes_used() const { return bytes_used_; }

 private:
  struct Used {
    size_t bytes, reserved;
  };
  std::map<uintptr_t, size_t> free_;
  std::map<uintptr_t, Used> used_;
  size_t bytes_used_ = 0;
};

}  // namespace diffscm::kernels::emulator
