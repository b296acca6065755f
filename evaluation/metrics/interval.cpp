#include "evaluation/metrics/interval.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/error.h"

namespace diffscm {
namespace {

// P(|T| < t), T Student's t with `freedom` degrees of freedom: the finite series of Abramowitz &
// Stegun, 26.7.3 and 26.7.4.
double central_probability(double t, int64_t freedom) {
  const double theta = std::atan(t / std::sqrt(static_cast<double>(freedom)));
  const double cos2 = std::cos(theta) * std::cos(theta);
  const bool odd = freedom % 2 == 1;
  double term = odd ? std::cos(theta) : 1, sum = freedom == 1 ? 0 : term;
  for (int64_t k = odd ? 3 : 2; k < freedom; k += 2) {
    term *= cos2 * static_cast<double>(k - 1) / static_cast<double>(k);
    sum += term;
  }
  if (odd) return 2 / std::numbers::pi * (theta + std::sin(theta) * sum);
  return std::sin(theta) * sum;
}

}  // namespace

double student_t975(int64_t freedom) {
  require(freedom >= 1, "Student's t with {} degrees of freedom: at least 1", freedom);
  double low = 1.9599, high = 12.71;  // the normal's, and that of one degree of freedom
  for (int i = 0; i < 60; ++i) {
    const double middle = 0.5 * (low + high);
    (central_probability(middle, freedom) < 0.95 ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

MeanInterval mean_with_interval(std::span<const double> values) {
  MeanInterval result;
  double sum = 0, squares = 0;
  for (const double v : values) {
    if (std::isnan(v)) continue;
    sum += v;
    ++result.count;
  }
  const auto n = static_cast<double>(result.count);
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  result.mean = result.count > 0 ? sum / n : kUnknown;
  for (const double v : values)
    if (!std::isnan(v)) squares += (v - result.mean) * (v - result.mean);
  result.half_width = result.count < 2
                          ? kUnknown
                          : student_t975(result.count - 1) * std::sqrt(squares / (n - 1) / n);
  return result;
}

}  // namespace diffscm
