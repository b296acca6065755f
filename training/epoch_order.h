// The order in which training sees a data set: each epoch a fresh permutation, a function of (seed,
// epoch).
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/random.h"

namespace diffscm {

// A permutation of 0 .. n-1: sorts by one Philox word each (ties by index).
std::vector<int64_t> permutation(int64_t n, const kernels::RandomKey& key, uint64_t stream);

class EpochOrder {
 public:
  EpochOrder(int64_t size, uint64_t seed) : size_(size), seed_(seed) {}
  // Which of the `size` images comes at `position` = 0, 1, ..., epochs one after another.
  int64_t at(int64_t position) const;

 private:
  int64_t size_;
  uint64_t seed_;
  mutable int64_t epoch_ = -1;
  mutable std::vector<int64_t> order_;
};

}  // namespace diffscm
