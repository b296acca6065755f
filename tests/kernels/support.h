// What every kernel test needs besides a device: inputs, comparison with a double reference,
// central differences, reproducibility.
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

#include "kernels/cpu/thread_pool.h"
#include "tests/kernels/device.h"
#include "tests/kernels/target_test.h"

namespace diffscm::kernels::test {

// Standard normal inputs; the same seed gives the same numbers.
inline Floats random_floats(int64_t n, uint32_t seed, float scale = 1, float offset = 0) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  Floats x(static_cast<size_t>(n));
  for (float& v : x) v = offset + scale * normal(generator);
  return x;
}

inline Doubles to_double(const Floats& x) {
  return Doubles(x.begin(), x.end());
}

// What storing a result as T adds to its error, relative to the result itself: bf16 has 8
// significant bits, so rounding to nearest moves a value by at most 2^-8 of itself. Everything else
// in an operator is computed in f32 and judged by the same tolerance as with f32 storage.
template <class T>
inline constexpr double kRounding = std::is_same_v<T, bf16> ? 1.0 / 256 : 0;

// |actual - expected| <= tolerance * (largest |expected|) + rounding * |expected|, element by
// element.
inline void expect_close(const Floats& actual, const Doubles& expected, double tolerance,
                         const std::string& what, double rounding = 0) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 1e-30, worst = 0;
  size_t where = 0;
  for (const double e : expected) largest = std::max(largest, std::abs(e));
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error =
        std::abs(static_cast<double>(actual[i]) - expected[i]) - rounding * std::abs(expected[i]);
    if (!(error <= worst)) {  // so that a NaN counts
      worst = error;
      where = i;
      if (std::isnan(error)) break;
    }
  }
  EXPECT_TRUE(worst <= tolerance * largest)
      << what << ": element " << where << " is " << actual[where] << ", expected "
      << expected[where] << " (relative error " << worst / largest << ", allowed " << tolerance
      << (rounding > 0 ? " besides the rounding to bf16)" : ")");
}
template <class T>
void expect_close(const Array<T>& actual, const Doubles& expected, double tolerance,
                  const std::string& what) {
  expect_close(actual.floats(), expected, tolerance, what, kRounding<T>);
}

inline void expect_same_bits(const Floats& a, const Floats& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]))
        << what << ": element " << i;
}
template <class T, class U>
void expect_same_bits(const Array<T>& a, const Array<U>& b, const std::string& what) {
  expect_same_bits(a.floats(), b.floats(), what);
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

// Runs f again (on the cpu with several numbers of threads) and expects the same bits.
inline void expect_reproducible(const Device& d, const std::function<std::vector<Floats>()>& f,
                                const std::string& what) {
  const int before = cpu::threads();
  const std::vector<int> counts = d.is("cpu") ? std::vector{1, 2, 3, 5} : std::vector{1, before};
  std::vector<Floats> first;
  for (const int threads : counts) {
    cpu::set_threads(threads);
    omp_set_num_threads(threads);  // the emulator's
    const std::vector<Floats> again = f();
    if (first.empty()) first = again;
    for (size_t i = 0; i < first.size(); ++i)
      expect_same_bits(first[i], again[i], what + " output " + std::to_string(i));
  }
  cpu::set_threads(before);
  omp_set_num_threads(before);
}

// Rows [n, n + 1) of an array of `rows` equal rows.
inline Floats row(const Floats& x, int64_t rows, int64_t n) {
  const auto size = static_cast<int64_t>(x.size()) / rows;
  return Floats(x.begin() + n * size, x.begin() + (n + 1) * size);
}

}  // namespace diffscm::kernels::test
