#include "evaluation/scm/samples.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "kernels/error.h"
#include "training/epoch_order.h"

namespace diffscm {
namespace {

double squared_distance(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

// Average of the middle two of an even number.
double median(std::vector<double> values) {
  const size_t half = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(half), values.end());
  const double upper = values[half];
  if (values.size() % 2 == 1) return upper;
  return (upper +
          *std::max_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(half))) /
         2;
}

double mean_kernel(const SampleRows& x, const SampleRows& y, double g) {
  double sum = 0;
  for (size_t i = 0; i < x.rows(); ++i)
    for (size_t j = 0; j < y.rows(); ++j)
      sum += std::exp(-g * squared_distance(x.row(i), y.row(j)));
  return sum / static_cast<double>(x.rows() * y.rows());
}

SampleRows standardised(SampleRows x) {
  const auto n = static_cast<double>(x.rows());
  for (size_t c = 0; c < x.width; ++c) {
    double sum = 0, squares = 0;
    for (size_t i = c; i < x.numbers.size(); i += x.width) sum += x.numbers[i];
    for (size_t i = c; i < x.numbers.size(); i += x.width)
      squares += std::pow(x.numbers[i] - sum / n, 2);
    const double deviation = squares > 0 ? std::sqrt(squares / n) : 1;
    for (size_t i = c; i < x.numbers.size(); i += x.width)
      x.numbers[i] = (x.numbers[i] - sum / n) / deviation;
  }
  return x;
}

// exp(-d^2 / median d^2) between all rows.
std::vector<double> kernel_matrix(const SampleRows& x) {
  const size_t n = x.rows();
  std::vector<double> k(n * n), distances;
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) {
      k[i * n + j] = squared_distance(x.row(i), x.row(j));
      if (j > i && k[i * n + j] > 0) distances.push_back(k[i * n + j]);
    }
  const double g = distances.empty() ? 1 : 1 / median(std::move(distances));
  for (double& v : k) v = std::exp(-g * v);
  return k;
}

// H K H, H = I - 1 / n.
void centre(std::vector<double>& k, size_t n) {
  std::vector<double> row(n, 0.0);
  double all = 0;
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) row[i] += k[i * n + j] / static_cast<double>(n);
  for (const double r : row) all += r / static_cast<double>(n);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) k[i * n + j] += all - row[i] - row[j];
}

}  // namespace

double mmd_squared(const SampleRows& x, const SampleRows& y) {
  require(x.width == y.width, "samples of {} and {} columns", x.width, y.width);
  require(x.rows() > 0 && y.rows() > 0, "a discrepancy needs samples on both sides");
  std::vector<double> distances;
  for (size_t i = 0; i < x.rows(); ++i)
    for (size_t j = i; j < y.rows(); ++j)
      if (const double d = squared_distance(x.row(i), y.row(j)); d > 0) distances.push_back(d);
  if (distances.empty()) return 0;
  const double g = 1 / median(std::move(distances));
  return mean_kernel(x, x, g) + mean_kernel(y, y, g) - 2 * mean_kernel(x, y, g);
}

Independence independence_test(const SampleRows& x, const SampleRows& y, int permutations,
                               uint64_t seed) {
  const size_t n = x.rows();
  require(n == y.rows() && n >= 2, "independence of {} and {} observations", n, y.rows());
  std::vector<double> k = kernel_matrix(standardised(x));
  const std::vector<double> l = kernel_matrix(standardised(y));
  centre(k, n);
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  const auto statistic = [&] {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
      const double* row = l.data() + static_cast<size_t>(order[i]) * n;
      for (size_t j = 0; j < n; ++j) sum += k[i * n + j] * row[order[j]];
    }
    return sum / static_cast<double>(n * n);
  };
  Independence result{statistic(), 1};
  int as_large = 0;
  for (int p = 0; p < permutations; ++p) {
    order = permutation(static_cast<int64_t>(n), {seed, kernels::Purpose::order, 0},
                        static_cast<uint64_t>(p));
    as_large += statistic() >= result.hsic;
  }
  result.p_value = (1.0 + as_large) / (1.0 + permutations);
  return result;
}

double crps(std::span<const double> draws, double y) {
  std::vector<double> sorted(draws.begin(), draws.end());
  std::sort(sorted.begin(), sorted.end());
  const auto n = static_cast<double>(sorted.size());
  double to_truth = 0, between = 0;  // sum |x_i - x_j| over all pairs = 2 sum (2 i - n + 1) x_(i)
  for (size_t i = 0; i < sorted.size(); ++i) {
    to_truth += std::abs(sorted[i] - y);
    between += 2 * (2 * static_cast<double>(i) - n + 1) * sorted[i];
  }
  return to_truth / n - between / (2 * n * n);
}

double expected_calibration_error(const SampleRows& probabilities, std::span<const double> states) {
  constexpr size_t kBins = 10;
  std::array<double, kBins> gap{};
  for (size_t i = 0; i < probabilities.rows(); ++i) {
    const auto p = probabilities.row(i);
    const auto best = std::max_element(p.begin(), p.end());
    const auto bin = std::min(kBins - 1, static_cast<size_t>(*best * kBins));
    gap[bin] += *best - (static_cast<double>(best - p.begin()) == states[i]);
  }
  double sum = 0;
  for (const double g : gap) sum += std::abs(g);
  return sum / static_cast<double>(probabilities.rows());
}

}  // namespace diffscm
