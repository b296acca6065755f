// What all metrics ask of images, and the vectors they make of them.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "engine/tensor.h"

namespace diffscm {

// Rows of equal length, in double.
struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<double> values;  // [rows * columns]

  Matrix() = default;
  Matrix(int64_t rows, int64_t columns)
      : rows(rows), columns(columns), values(static_cast<size_t>(rows * columns)) {}
  double& at(int64_t row, int64_t column) {
    return values[static_cast<size_t>(row * columns + column)];
  }
  double at(int64_t row, int64_t column) const {
    return values[static_cast<size_t>(row * columns + column)];
  }
  // The rows of `more` below these; a matrix without rows takes its columns from it.
  void append(const Matrix& more) {
    columns = more.columns;
    rows += more.rows;
    values.insert(values.end(), more.values.begin(), more.values.end());
  }
  std::span<const double> row(int64_t i) const {
    return std::span(values).subspan(static_cast<size_t>(i * columns),
                                     static_cast<size_t>(columns));
  }
};
Matrix to_matrix(const Tensor& x);  // [N, ...] -> N rows

// Throws Error, in one line, unless `images` is a non-empty f32 batch [N,H,W,C] of finite numbers;
// `what` names it.
void require_images(const Tensor& images, const char* what);
// ... and unless there are two of the same shape.
void require_pair(const Tensor& a, const Tensor& b);
// ... and unless there is one class in [0, classes) for each image.
void require_classes(std::span<const int64_t> labels, int64_t images, int64_t classes,
                     const char* what);

// Counts 0, batch, 2 batch, ... and calls work(begin, end): networks see so many images at once.
template <class Work>
void in_batches(int64_t n, int64_t batch, Work&& work) {
  for (int64_t begin = 0; begin < n; begin += batch) work(begin, std::min(begin + batch, n));
}

}  // namespace diffscm
