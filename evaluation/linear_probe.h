// What can be read off images or their noise by a linear function: whether u still knows the
// parents, and whether it kept the style.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/tensor.h"

namespace diffscm {

// Ridge regression with an intercept, judged out of sample: every row is predicted from all others
// (Allen 1974, "The relationship between variable selection and data augmentation and a method for
// prediction", PRESS). In the dual form, so that features may be many: rows^2 (columns + rows)
// products.
class LinearProbe {
 public:
  static constexpr int64_t kFewest = 20, kMost = 4000;  // rows

  // Each [N, ..], on the cpu: what stands in row i of all of them are the features of i. Throws
  // Error for other than kFewest .. kMost rows, different ones, or values that are not finite.
  explicit LinearProbe(std::span<const Tensor> features);

  // Share of the variance of a number per row that is predicted: 1 all of it; 0 or below nothing,
  // which the mean of the other rows would not. Of several penalties the best. Not a number for a
  // constant.
  double r2(std::span<const double> numbers) const;
  // Share of rows whose class, 0 .. classes - 1, gets the largest of the predictions of all
  // classes' indicators.
  double accuracy(std::span<const double> labels, int64_t classes) const;

 private:
  // At one penalty: predictions of the centred target, [N].
  std::vector<double> predictions(size_t penalty, std::span<const double> target) const;

  size_t rows_;
  std::vector<double> penalties_;
  std::vector<std::vector<double>> inverses_;  // [penalty][N * N], of gram + penalty * identity
};

}  // namespace diffscm
