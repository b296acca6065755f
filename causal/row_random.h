// The random numbers of a causal model's rows.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>

#include "kernels/random.h"

namespace diffscm::causal {

// One row's numbers, in order: Philox (kernels/random.h) at the precision of a double.
class RandomStream {
 public:
  RandomStream(const kernels::RandomKey& key, uint64_t row) : key_(key), row_(row) {}

  // In (0, 1), 53 bits, neither end included.
  double uniform() {
    const uint64_t high = word(), low = word();
    return (static_cast<double>((high << 21) ^ (low >> 11)) + 0.5) * 0x1p-53;
  }
  // Standard normal, by Box-Muller; two uniforms each.
  double normal() {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }
  // Standard Gumbel: the largest of k of them with locations log p_k is k with probability p_k.
  double gumbel() { return -std::log(-std::log(uniform())); }

 private:
  uint32_t word() {
    if (used_ == 4) {
      block_ = kernels::philox(key_, row_, next_++);
      used_ = 0;
    }
    return block_.word[used_++];
  }

  kernels::RandomKey key_;
  uint64_t row_;
  kernels::Philox block_{};
  uint32_t next_ = 0;
  int used_ = 4;
};

// Those of one node and one purpose in a batch: a pure function of (seed, purpose, node, row), so
// that no result depends on how rows are batched. `rows` are the rows' numbers in the whole work.
struct RowRandom {
  kernels::RandomKey key;
  std::span<const int64_t> rows;

  int64_t size() const { return std::ssize(rows); }
  RandomStream stream(int64_t i) const {
    return {key, static_cast<uint64_t>(rows[static_cast<size_t>(i)])};
  }
};

}  // namespace diffscm::causal
