// Inner products in double.
#pragma once

#include <cstdint>

namespace diffscm::kernels::cpu {

// Accumulated in eight interleaved lanes: the compiler vectorises them, and the order of summation
// depends on the length alone.
inline double dot(int64_t n, const float* x, const float* z) {
  constexpr int64_t kLanes = 8;
  double sum[kLanes] = {};
  int64_t e = 0;
  for (; e + kLanes <= n; e += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) sum[l] += double{x[e + l]} * double{z[e + l]};
  for (; e < n; ++e) sum[0] += double{x[e]} * double{z[e]};
  double total = 0;
  for (const double s : sum) total += s;
  return total;
}

}  // namespace diffscm::kernels::cpu
