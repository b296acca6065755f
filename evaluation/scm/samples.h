// How far apart samples of tables are: maximum mean discrepancy, kernel independence.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace diffscm {

// Rows of `width` numbers.
struct SampleRows {
  std::vector<double> numbers;  // [rows, width]
  size_t width = 1;

  size_t rows() const { return numbers.size() / width; }
  std::span<const double> row(size_t i) const {
    return std::span(numbers).subspan(i * width, width);
  }
};

// The biased estimate of the squared maximum mean discrepancy (Gretton et al. 2012) with the kernel
// exp(-g d^2), as Chao et al. 2023 compute it (DCM): mean k(X, X) + mean k(Y, Y) - 2 mean k(X, Y),
// g = 1 / the median of the positive entries of the upper triangle, diagonal included, of the
// matrix of squared distances between X and Y. Of two samples of one distribution it is about
// (1 / n + 1 / m)(1 - E k), not 0: print the truth against itself beside it. 0 when no two rows
// differ. Throws Error for widths that differ and for no rows.
double mmd_squared(const SampleRows& x, const SampleRows& y);

// Whether x and y, one row each per observation, are independent: the Hilbert-Schmidt independence
// criterion (Gretton et al. 2008) with Gaussian kernels of median width on each side, and the share
// of permutations of y under which it is as large (that share is the p-value: (1 + count) / (1 +
// permutations)). Columns are standardised first.
struct Independence {
  double hsic = 0, p_value = 1;
};
Independence independence_test(const SampleRows& x, const SampleRows& y, int permutations,
                               uint64_t seed);

// Continuous ranked probability score of draws from the predicted distribution: mean |X - y| - mean
// |X - X'| / 2 over all pairs of draws (Gneiting & Raftery 2007, eq. 20-21). In y's unit.
double crps(std::span<const double> draws, double y);

// Mean over observations of |confidence - accuracy|, by 10 equal bins of the confidence in the most
// probable state (Guo et al. 2017). `probabilities` has one row of states per observation.
double expected_calibration_error(const SampleRows& probabilities, std::span<const double> states);

}  // namespace diffscm
