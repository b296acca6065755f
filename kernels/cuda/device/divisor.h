// Division by a number that is known when the kernel is launched, as a multiplication.
#pragma once

#include "kernels/cuda/device/cuda.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// n / d for n and d below 2^31. With l = ceil(log2 d) and m = floor(2^32 (2^l - d) / d) + 1,
// n / d = (floor(m n / 2^32) + n) / 2^l, rounded down (Granlund and Montgomery, "Division by
// invariant integers using multiplication", 1994, figure 4.1).
class Divisor {
 public:
  explicit Divisor(int64_t d) : divisor_(static_cast<uint32_t>(d)) {
    require(d >= 1 && d < int64_t{1} << 31, "dividing by {}: expected 1 .. 2^31 - 1", d);
    while (uint64_t{1} << shift_ < divisor_) ++shift_;
    const uint64_t rest = (uint64_t{1} << shift_) - divisor_;
    multiplier_ = static_cast<uint32_t>((rest << 32) / divisor_ + 1);
  }

  __device__ uint32_t quotient(uint32_t n) const {
    return (__umulhi(multiplier_, n) + n) >> shift_;
  }
  __device__ uint32_t remainder(uint32_t n, uint32_t quotient) const {
    return n - quotient * divisor_;
  }
  // Of any n >= 0, that is the same for the whole block: a division in 64 bits takes as many
  // instructions as a small tile's products, and is made only where n is not below 2^31.
  struct Parts {
    int64_t quotient;
    uint32_t remainder;
  };
  __device__ Parts divide(int64_t n) const {
    if (n >= int64_t{1} << 31) return {n / divisor_, static_cast<uint32_t>(n % divisor_)};
    const uint32_t q = quotient(static_cast<uint32_t>(n));
    return {q, remainder(static_cast<uint32_t>(n), q)};
  }
  __device__ uint32_t value() const { return divisor_; }

 private:
  uint32_t divisor_, multiplier_ = 0, shift_ = 0;
};

}  // namespace diffscm::kernels::DIFFSCM_TARGET
