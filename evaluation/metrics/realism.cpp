#include "evaluation/metrics/realism.h"

#include <cmath>

namespace diffscm {
namespace {

void require_set(const Matrix& x) {
  require(x.rows >= 2, "distances of sets need at least 2 images on either side, got {}", x.rows);
  require(x.columns >= 1, "a set without features");
  for (const double v : x.values)
    require(std::isfinite(v), "a feature is {}: give finite images", v);
}

void require_comparable(size_t a, size_t b) {
  require(a == b, "sets of {} and {} features cannot be compared", a, b);
}

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix c(a.rows, b.columns);
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t k = 0; k < a.columns; ++k)
      for (int64_t j = 0; j < b.columns; ++j) c.at(i, j) += a.at(i, k) * b.at(k, j);
  return c;
}

// The root of a symmetric matrix that is positive up to rounding.
Matrix square_root(const Matrix& a) {
  const Eigen e = symmetric_eigen(a);
  Matrix scaled = e.vectors, transposed(a.rows, a.rows);
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < a.rows; ++j) {
      scaled.at(i, j) *= std::sqrt(std::max(0.0, e.values[static_cast<size_t>(j)]));
      transposed.at(j, i) = e.vectors.at(i, j);
    }
  }
  return product(scaled, transposed);
}

double kernel(std::span<const double> x, std::span<const double> y) {
  const double k = dot(x, y) / static_cast<double>(x.size()) + 1;
  return k * k * k;
}

// Mean of the kernel over pairs of different rows.
double mean_within(const Matrix& x) {
  double sum = 0;
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < i; ++j) sum += kernel(x.row(i), x.row(j));
  return 2 * sum / (static_cast<double>(x.rows) * static_cast<double>(x.rows - 1));
}

}  // namespace

Moments moments(const Matrix& x) {
  require_set(x);
  Moments m{std::vector<double>(static_cast<size_t>(x.columns), 0), Matrix(x.columns, x.columns)};
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.columns; ++j) m.mean[static_cast<size_t>(j)] += x.at(i, j);
  for (double& v : m.mean) v /= static_cast<double>(x.rows);
  std::vector<double> centred(m.mean.size());
  for (int64_t i = 0; i < x.rows; ++i) {
    for (size_t j = 0; j < centred.size(); ++j) centred[j] = x.row(i)[j] - m.mean[j];
    for (int64_t j = 0; j < x.columns; ++j)
      for (int64_t k = 0; k < x.columns; ++k)
        m.covariance.at(j, k) += centred[static_cast<size_t>(j)] * centred[static_cast<size_t>(k)];
  }
  for (double& v : m.covariance.values) v /= static_cast<double>(x.rows - 1);
  return m;
}

Eigen symmetric_eigen(Matrix a) {
  const int64_t n = a.rows;
  require(n >= 1 && a.columns == n, "the eigenvalues of a matrix of {} x {}", n, a.columns);
  Matrix v(n, n);
  double size = 0;
  for (int64_t i = 0; i < n; ++i) v.at(i, i) = 1;
  for (const double x : a.values) size += x * x;
  constexpr int kSweeps = 60;  // it converges quadratically: ten are enough for any matrix
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    double off = 0;
    for (int64_t p = 0; p < n; ++p)
      for (int64_t q = 0; q < p; ++q) off += 2 * a.at(p, q) * a.at(p, q);
    if (off <= 1e-30 * size) break;
    for (int64_t p = 0; p < n; ++p) {
      for (int64_t q = p + 1; q < n; ++q) {
        if (a.at(p, q) == 0) continue;
        // The rotation by the smaller angle that makes a_pq zero.
        const double theta = (a.at(q, q) - a.at(p, p)) / (2 * a.at(p, q));
        const double t = std::copysign(1.0, theta) / (std::abs(theta) + std::hypot(theta, 1.0));
        const double c = 1 / std::hypot(t, 1.0), s = t * c;
        for (int64_t i = 0; i < n; ++i) {
          const double x = a.at(i, p), y = a.at(i, q);
          a.at(i, p) = c * x - s * y;
          a.at(i, q) = s * x + c * y;
        }
        for (int64_t i = 0; i < n; ++i) {
          const double x = a.at(p, i), y = a.at(q, i);
          a.at(p, i) = c * x - s * y;
          a.at(q, i) = s * x + c * y;
        }
        for (int64_t i = 0; i < n; ++i) {
          const double x = v.at(i, p), y = v.at(i, q);
          v.at(i, p) = c * x - s * y;
          v.at(i, q) = s * x + c * y;
        }
      }
    }
  }
  Eigen e{std::vector<double>(static_cast<size_t>(n)), std::move(v)};
  for (int64_t i = 0; i < n; ++i) e.values[static_cast<size_t>(i)] = a.at(i, i);
  return e;
}

double frechet_distance(const Moments& a, const Moments& b) {
  require_comparable(a.mean.size(), b.mean.size());
  const auto n = static_cast<int64_t>(a.mean.size());
  double distance = 0;
  for (size_t i = 0; i < a.mean.size(); ++i)
    distance += (a.mean[i] - b.mean[i]) * (a.mean[i] - b.mean[i]);
  for (int64_t i = 0; i < n; ++i) distance += a.covariance.at(i, i) + b.covariance.at(i, i);
  const Matrix root = square_root(a.covariance);
  Matrix inner = product(product(root, b.covariance), root);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < i; ++j)
      inner.at(i, j) = inner.at(j, i) = 0.5 * (inner.at(i, j) + inner.at(j, i));
  for (const double value : symmetric_eigen(inner).values)
    distance -= 2 * std::sqrt(std::max(0.0, value));
  return std::max(0.0, distance);  // rounding
}

double frechet_distance(const Matrix& a, const Matrix& b) {
  return frechet_distance(moments(a), moments(b));
}

double frechet_distance(const Matrix& a, const Moments& b) {
  return frechet_distance(moments(a), b);
}

double unit_scale(const Matrix& x) {
  double squares = 0;
  for (const double v : x.values) squares += v * v;
  require(squares > 0, "{} rows of features are all 0: they have no scale", x.rows);
  return std::sqrt(static_cast<double>(x.values.size()) / squares);
}

Matrix scaled(Matrix x, double factor) {
  for (double& v : x.values) v *= factor;
  return x;
}

double kernel_mmd(const Matrix& a, const Matrix& b) {
  require_set(a);
  require_set(b);
  require_comparable(static_cast<size_t>(a.columns), static_cast<size_t>(b.columns));
  double between = 0;
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < b.rows; ++j) between += kernel(a.row(i), b.row(j));
  between /= static_cast<double>(a.rows) * static_cast<double>(b.rows);
  return mean_within(a) + mean_within(b) - 2 * between;
}

}  // namespace diffscm
