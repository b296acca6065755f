#include "evaluation/linear_probe.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/parallel.h"
#include "kernels/error.h"

namespace diffscm {
namespace {

using Square = std::vector<double>;  // [n * n]

// Inner products of the rows of all features, in blocks of columns that stay in the cache.
Square gram(std::span<const Tensor> features, size_t n) {
  constexpr int64_t kBlock = 1024;
  Square g(n * n);
  for (const Tensor& f : features) {
    const float* x = f.data();
    const int64_t columns = f.numel() / static_cast<int64_t>(n);
    in_parallel(static_cast<int64_t>(n), [&](int64_t i) {
      for (int64_t begin = 0; begin < columns; begin += kBlock) {
        const int64_t end = std::min(columns, begin + kBlock);
        for (int64_t j = 0; j <= i; ++j) {
          double sums[8] = {};  // independent, so that the compiler can keep them in registers
          int64_t c = begin;
          for (; c + 8 <= end; c += 8)
            for (int64_t k = 0; k < 8; ++k)
              sums[k] += double(x[i * columns + c + k]) * x[j * columns + c + k];
          double sum = std::accumulate(sums, sums + 8, 0.0);
          for (; c < end; ++c) sum += double(x[i * columns + c]) * x[j * columns + c];
          g[static_cast<size_t>(i) * n + static_cast<size_t>(j)] += sum;
        }
      }
    });
  }
  for (size_t i = 0; i < n; ++i)
    for (size_t j = i + 1; j < n; ++j) g[i * n + j] = g[j * n + i];
  return g;
}

// The features' means taken away.
void centre(Square& g, size_t n) {
  std::vector<double> mean(n);
  for (size_t i = 0; i < n; ++i)
    mean[i] = std::accumulate(g.begin() + static_cast<std::ptrdiff_t>(i * n),
                              g.begin() + static_cast<std::ptrdiff_t>((i + 1) * n), 0.0) /
              static_cast<double>(n);
  const double all = std::accumulate(mean.begin(), mean.end(), 0.0) / static_cast<double>(n);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) g[i * n + j] += all - mean[i] - mean[j];
}

// Of a symmetric positive definite matrix, by Cholesky's L: first L, then L^-1, then L^-T L^-1.
Square inverse(Square a, size_t n) {
  for (size_t j = 0; j < n; ++j)
    for (size_t i = j; i < n; ++i) {
      double sum = a[i * n + j];
      for (size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = i == j ? std::sqrt(sum) : sum / a[j * n + j];
    }
  Square inverse_t(n * n);  // (L^-1)^T, whose row j is column j of L^-1
  in_parallel(static_cast<int64_t>(n), [&](int64_t column) {
    const auto j = static_cast<size_t>(column);
    double* x = &inverse_t[j * n];
    x[j] = 1 / a[j * n + j];
    for (size_t i = j + 1; i < n; ++i) {
      double sum = 0;
      for (size_t k = j; k < i; ++k) sum -= a[i * n + k] * x[k];
      x[i] = sum / a[i * n + i];
    }
  });
  Square result(n * n);
  in_parallel(static_cast<int64_t>(n), [&](int64_t row) {
    const auto i = static_cast<size_t>(row);
    for (size_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (size_t k = i; k < n; ++k) sum += inverse_t[i * n + k] * inverse_t[j * n + k];
      result[i * n + j] = result[j * n + i] = sum;
    }
  });
  return result;
}

}  // namespace

LinearProbe::LinearProbe(std::span<const Tensor> features) {
  require(!features.empty(), "a probe of no features");
  const int64_t rows = features[0].dim(0);
  require(rows >= kFewest && rows <= kMost, "a linear probe of {} images: give {} to {}", rows,
          kFewest, kMost);
  for (const Tensor& f : features)
    require(f.dim(0) == rows, "features of {} and of {} images", rows, f.dim(0));
  rows_ = static_cast<size_t>(rows);
  Square g = gram(features, rows_);
  centre(g, rows_);
  double trace = 0;
  for (size_t i = 0; i < rows_; ++i) trace += g[i * rows_ + i];
  require(std::isfinite(trace), "a probe of features that are not finite");
  const double unit = std::max(trace / static_cast<double>(rows), 1e-30);
  for (const double factor : {1e-3, 1e-2, 1e-1, 1.0, 1e1}) {
    penalties_.push_back(factor * unit);
    Square ridge = g;
    for (size_t i = 0; i < rows_; ++i) ridge[i * rows_ + i] += penalties_.back();
    inverses_.push_back(inverse(std::move(ridge), rows_));
  }
}

// With G = (K + p I)^-1 the fit leaves p G y of the centred y, and each row has the leverage
// 1 - p G_ii + 1/n, so that without row i the error there is p (G y)_i / (p G_ii - 1/n).
std::vector<double> LinearProbe::predictions(size_t penalty, std::span<const double> target) const {
  const Square& g = inverses_[penalty];
  const double p = penalties_[penalty];
  std::vector<double> result(rows_);
  for (size_t i = 0; i < rows_; ++i) {
    const double fit = std::inner_product(target.begin(), target.end(), &g[i * rows_], 0.0);
    const double left = p * g[i * rows_ + i] - 1 / static_cast<double>(rows_);
    result[i] = target[i] - p * fit / left;
  }
  return result;
}

namespace {

std::vector<double> centred(std::span<const double> values) {
  const double mean =
      std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  std::vector<double> result(values.begin(), values.end());
  for (double& v : result) v -= mean;
  return result;
}

double squared_error(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

}  // namespace

double LinearProbe::r2(std::span<const double> numbers) const {
  require(numbers.size() == rows_, "{} numbers of {} images", numbers.size(), rows_);
  const std::vector<double> target = centred(numbers);
  double best = INFINITY;
  for (size_t p = 0; p < penalties_.size(); ++p)
    best = std::min(best, squared_error(target, predictions(p, target)));
  // The mean of the other rows is off by n / (n - 1) times the distance to the mean of all.
  const double n = static_cast<double>(rows_), others = n / (n - 1);
  const double nothing =
      std::inner_product(target.begin(), target.end(), target.begin(), 0.0) * others * others;
  return nothing > 0 ? 1 - best / nothing : std::nan("");
}

double LinearProbe::accuracy(std::span<const double> labels, int64_t classes) const {
  require(labels.size() == rows_, "{} labels of {} images", labels.size(), rows_);
  std::vector<std::vector<double>> indicators, targets;
  for (int64_t c = 0; c < classes; ++c) {
    std::vector<double> is(rows_);
    for (size_t i = 0; i < rows_; ++i) is[i] = labels[i] == static_cast<double>(c);
    targets.push_back(centred(is));
    indicators.push_back(std::move(is));
  }
  double least = INFINITY, accuracy = 0;
  for (size_t p = 0; p < penalties_.size(); ++p) {
    std::vector<double> highest(rows_, -INFINITY), chosen(rows_);
    double error = 0;
    for (int64_t c = 0; c < classes; ++c) {
      const std::vector<double>& is = indicators[static_cast<size_t>(c)];
      const std::vector<double>& target = targets[static_cast<size_t>(c)];
      const std::vector<double> predicted = predictions(p, target);
      error += squared_error(target, predicted);
      for (size_t i = 0; i < rows_; ++i)
        if (const double indicator = predicted[i] + is[i] - target[i]; indicator > highest[i]) {
          highest[i] = indicator;
          chosen[i] = static_cast<double>(c);
        }
    }
    if (error >= least) continue;
    least = error;
    double right = 0;
    for (size_t i = 0; i < rows_; ++i) right += chosen[i] == labels[i];
    accuracy = right / static_cast<double>(rows_);
  }
  return accuracy;
}

}  // namespace diffscm
