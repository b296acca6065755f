// Whether two ways to compute the same agree: for kernels that no GPU had run when they became the
// first choice, and are compared at their first use with those that they replace.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

namespace diffscm::kernels {

// |a - b| / |b| in the 2-norm, infinite where only a is not finite or only b is zero. Zero where b
// is not finite: then nothing can be said. Both have the same length.
inline double relative_distance(std::span<const float> a, std::span<const float> b) {
  double apart = 0, size = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double d = double{a[i]} - double{b[i]};
    apart += d * d;
    size += double{b[i]} * double{b[i]};
  }
  if (!std::isfinite(size) || apart == 0) return 0;
  return std::isfinite(apart) ? std::sqrt(apart / size) : std::numeric_limits<double>::infinity();
}

}  // namespace diffscm::kernels
