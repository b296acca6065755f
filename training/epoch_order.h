// The order in which training sees a data set: each epoch a fresh permutation, a function of (seed,
// epoch).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/random.h"

namespace diffscm {

// A permutation of 0 .. n-1: sorts by one Philox word each (ties by index).
std::vector<int64_t> permutation(int64_t n, const kernels::RandomKey& key, uint64_t stream);

class EpochOrder {
 public:
  EpochOrder(int64_t size, uint64_t seed) : size_(size), seed_(seed) {}
  // Which of the `size` images comes at `position` = 0, 1, ..., epochs one after another. Remembers
  // two epochs in a row: what is asked for ahead lies in the next one.
  int64_t at(int64_t position) const;

 private:
  struct Epoch {
    int64_t number = -1;
    std::vector<int64_t> order;
  };
  int64_t size_;
  uint64_t seed_;
  mutable std::array<Epoch, 2> epochs_;
};

}  // namespace diffscm
