// What every kernel test needs: inputs, poisoned outputs, comparison with a double reference,
// central differences, and the list of targets under test.
#pragma once

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/table.h"

namespace diffscm::kernels::test {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

// Every table whose operators work on host memory.
inline std::vector<const OperatorTable*> tables() {
  return {&cpu::operators()};
}

// Standard normal inputs; the same seed gives the same numbers.
inline Floats random_floats(int64_t n, uint32_t seed, float scale = 1, float offset = 0) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  Floats x(static_cast<size_t>(n));
  for (float& v : x) v = offset + scale * normal(generator);
  return x;
}

// An output before the call: an element that stays NaN was not written.
inline Floats poisoned(int64_t n) {
  return Floats(static_cast<size_t>(n), std::numeric_limits<float>::quiet_NaN());
}

inline Doubles to_double(const Floats& x) {
  return Doubles(x.begin(), x.end());
}

inline const float* data_or_null(const Floats& x) {
  return x.empty() ? nullptr : x.data();
}

inline void expect_close(const Floats& actual, const Doubles& expected, double tolerance,
                         const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 1e-30, worst = 0;
  size_t where = 0;
  for (const double e : expected) largest = std::max(largest, std::abs(e));
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(static_cast<double>(actual[i]) - expected[i]);
    if (!(error <= worst)) {  // so that a NaN counts
      worst = error;
      where = i;
      if (std::isnan(error)) break;
    }
  }
  EXPECT_TRUE(worst <= tolerance * largest)
      << what << ": element " << where << " is " << actual[where] << ", expected "
      << expected[where] << " (relative error " << worst / largest << ", allowed " << tolerance
      << ")";
}

inline void expect_same_bits(const Floats& a, const Floats& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]))
        << what << ": element " << i;
}

// Checks d f / d x against central differences, all in double, at up to `samples` positions.
inline void check_gradient(const std::function<double(const Doubles&)>& f, Doubles x,
                           const Doubles& analytic, const std::string& what, int samples = 40) {
  ASSERT_EQ(x.size(), analytic.size()) << what;
  const double h = 1e-5;
  const size_t step = std::max<size_t>(1, x.size() / static_cast<size_t>(samples));
  for (size_t i = 0; i < x.size(); i += step) {
    const double saved = x[i];
    x[i] = saved + h;
    const double above = f(x);
    x[i] = saved - h;
    const double below = f(x);
    x[i] = saved;
    const double numeric = (above - below) / (2 * h);
    EXPECT_NEAR(numeric, analytic[i], 1e-6 * std::max(1.0, std::abs(numeric)))
        << what << ": element " << i;
  }
}

inline double dot(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Runs f with several numbers of threads and expects the same bits from its outputs.
inline void expect_thread_independent(const std::function<std::vector<Floats>()>& f,
                                      const std::string& what) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const std::vector<Floats> one = f();
  for (const int threads : {2, 3, 5}) {
    omp_set_num_threads(threads);
    const std::vector<Floats> many = f();
    for (size_t i = 0; i < one.size(); ++i)
      expect_same_bits(one[i], many[i], what + " output " + std::to_string(i));
  }
  omp_set_num_threads(before);
}

// Rows [n, n + 1) of an array of `rows` equal rows.
inline Floats row(const Floats& x, int64_t rows, int64_t n) {
  const auto size = static_cast<int64_t>(x.size()) / rows;
  return Floats(x.begin() + n * size, x.begin() + (n + 1) * size);
}

}  // namespace diffscm::kernels::test
