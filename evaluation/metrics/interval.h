// A mean and how sure of it one may be.
#pragma once

#include <cstdint>
#include <span>

namespace diffscm {

struct MeanInterval {
  double mean = 0;
  double half_width = 0;  // the 95% confidence interval is mean +- half_width; NaN below 2 values
  int64_t count = 0;
};

// Student's t interval of independent values: +- t_{0.975, n - 1} s / sqrt(n). NaN values (a metric
// that does not apply) are left out.
MeanInterval mean_with_interval(std::span<const double> values);

// The 0.975 quantile of Student's t distribution with `freedom` >= 1 degrees of freedom.
double student_t975(int64_t freedom);

}  // namespace diffscm
