// The exogenous noise of a generated world: one stream of random numbers per image.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "data/dataset.h"
#include "kernels/random.h"

namespace diffscm::data {

// The stream of image i of a split: test images lie far beyond any training image.
inline uint64_t world_index(Split split, int64_t i) {
  constexpr uint64_t kTestWorld = uint64_t{1} << 32;
  return static_cast<uint64_t>(i) + (split == Split::test ? kTestWorld : 0);
}

// Successive numbers of one image's stream.
class Draws {
 public:
  Draws(uint64_t seed, uint64_t index) : key_{seed, kernels::Purpose::world, 0}, index_(index) {}

  double uniform() {  // in (0, 1)
    if (next_ == 4) {
      block_ = kernels::philox(key_, index_, count_++);
      next_ = 0;
    }
    return (block_.word[next_++] + 0.5) * 0x1p-32;
  }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  double normal() {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }
  // Normal with mean 0, cut at +-limit.
  double normal(double spread, double limit) {
    return std::clamp(spread * normal(), -limit, limit);
  }

 private:
  kernels::RandomKey key_;
  uint64_t index_;
  kernels::Philox block_{};
  uint32_t count_ = 0;
  int next_ = 4;
};

}  // namespace diffscm::data
