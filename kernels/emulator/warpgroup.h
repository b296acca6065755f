// The emulated bodies of kernels/cuda/device/wgmma.h. Each lane forms its own sums of a product, at
// the latest moment at which wgmma may: when it waits for the product's group. Operands that change
// between the start and that moment are reported: on a GPU the product may see either.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/emulator/shared_memory.h"
#include "kernels/emulator/site.h"

namespace diffscm::kernels::emulator {

// The products that one thread has under way.
class WarpgroupProducts {
 public:
  struct Product {
    float* d;
    uint64_t a, b;  // descriptors
    int columns;
    bool b_along_n;
    bool a_in_registers;
    uint16_t rows[2][16];  // of A, where it is: those of the thread's sums
    uint64_t operands;     // a sum over their bytes in shared memory
    Site site;
    unsigned group;
  };
  void clear() { *this = {}; }
  void start(Product product) {
    product.group = group_;
    products_.push_back(product);
  }
  void commit() { ++group_; }
  // Carries out all but the last `pending` groups.
  void wait(unsigned pending);
  bool empty() const { return products_.empty(); }

 private:
  std::vector<Product> products_;
  unsigned group_ = 0;  // the one being filled
};

}  // namespace diffscm::kernels::emulator

namespace diffscm::kernels::emu {

inline bool has_wgmma() {
  return true;
}

template <class T>
__forceinline__ T& swizzled_shared_memory() {
  static_assert(alignof(T) <= 1024);
  if (sizeof(T) > emulator::shared_block.bytes) emulator::shared_too_small(sizeof(T));
  return *static_cast<T*>(emulator::shared_block.data);
}

// Bytes from the beginning of the block's shared memory, a multiple of 16.
uint32_t emulate_shared_address(const void* shared, DIFFSCM_EMU_CALLER);

void emulate_warpgroup_mma(float* d, int columns, uint64_t a, uint64_t b, bool b_along_n,
                           DIFFSCM_EMU_CALLER);
// With the warp's fragment of A, of 16 rows.
void emulate_warpgroup_mma(float* d, int columns, const uint32_t (&a)[4], uint64_t b,
                           bool b_along_n, DIFFSCM_EMU_CALLER);
void emulate_warpgroup_commit();
void emulate_warpgroup_wait(int pending);

}  // namespace diffscm::kernels::emu
