#include "causal/mechanisms/rational_quadratic_spline.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr double kLeast = 1e-3;  // share of the interval of a bin, and slope at a knot

// A number that carries its derivatives with respect to the seven that a bin depends on.
struct Dual {
  static constexpr int kInputs = 7;
  double value = 0;
  std::array<double, kInputs> d{};

  Dual(double v) : value(v) {}  // NOLINT: constants are duals
  static Dual input(double v, int i) {
    Dual x(v);
    x.d[static_cast<size_t>(i)] = 1;
    return x;
  }
  // f(a, b) with its partial derivatives fa, fb.
  static Dual of(double f, double fa, const Dual& a, double fb, const Dual& b) {
    Dual r(f);
    for (size_t i = 0; i < kInputs; ++i) r.d[i] = fa * a.d[i] + fb * b.d[i];
    return r;
  }
  friend Dual operator+(const Dual& a, const Dual& b) { return of(a.value + b.value, 1, a, 1, b); }
  friend Dual operator-(const Dual& a, const Dual& b) { return of(a.value - b.value, 1, a, -1, b); }
  friend Dual operator*(const Dual& a, const Dual& b) {
    return of(a.value * b.value, b.value, a, a.value, b);
  }
  friend Dual operator/(const Dual& a, const Dual& b) {
    return of(a.value / b.value, 1 / b.value, a, -a.value / (b.value * b.value), b);
  }
  friend Dual log(const Dual& a) { return of(std::log(a.value), 1 / a.value, a, 0, a); }
};

// Between the knots (x0, y0, slope d0) and (x1, y1, d1): y and log dy/dx, eq. 19 and 22.
template <class T>
std::pair<T, T> rational_quadratic(const T& x, const T& x0, const T& x1, const T& y0, const T& y1,
                                   const T& d0, const T& d1) {
  using std::log;
  const T width = x1 - x0, height = y1 - y0, s = height / width;
  const T t = (x - x0) / width, rest = 1.0 - t, q = t * rest;
  const T denominator = s + (d1 + d0 - 2.0 * s) * q;
  const T y = y0 + height * (s * t * t + d0 * q) / denominator;
  const T numerator = d1 * t * t + 2.0 * s * q + d0 * rest * rest;
  return {y, 2.0 * log(s) + log(numerator) - 2.0 * log(denominator)};
}

double sigmoid(double v) {
  return 1 / (1 + std::exp(-v));
}
double softplus(double v) {
  return v > 0 ? v + std::log1p(std::exp(-v)) : std::log1p(std::exp(v));
}

std::vector<double> softmax(std::span<const double> raw) {
  const double top = *std::max_element(raw.begin(), raw.end());
  std::vector<double> share(raw.size());
  double total = 0;
  for (size_t i = 0; i < raw.size(); ++i) total += share[i] = std::exp(raw[i] - top);
  for (double& s : share) s /= total;
  return share;
}

// From shares to K + 1 knots on [-B, B].
std::vector<double> knots(const std::vector<double>& share, double bound) {
  const size_t bins = share.size();
  std::vector<double> knot(bins + 1, -bound);
  double sum = 0;
  for (size_t i = 0; i < bins; ++i) {
    sum += kLeast + (1 - kLeast * static_cast<double>(bins)) * share[i];
    knot[i + 1] = 2 * bound * sum - bound;
  }
  knot[bins] = bound;
  return knot;
}

size_t bin_of(const std::vector<double>& knot, double v) {
  const auto above = std::upper_bound(knot.begin(), knot.end(), v) - knot.begin();
  return static_cast<size_t>(std::clamp<ptrdiff_t>(above - 1, 0, std::ssize(knot) - 2));
}

// Adds to the gradient of raw shares, given those of the two knots around bin k: knot j is the sum
// of the shares before it, and d share_i / d raw_j = share_i ([i == j] - share_j).
void through_softmax(const std::vector<double>& share, double bound, size_t k, double dlow,
                     double dhigh, std::span<double> raw_gradient) {
  const size_t bins = share.size();
  const double scale = 2 * bound * (1 - kLeast * static_cast<double>(bins));
  if (k + 1 == bins) dhigh = 0;  // the last knot is B
  const auto dshare = [&](size_t i) {
    return scale * ((i < k ? dlow : 0) + (i < k + 1 ? dhigh : 0));
  };
  double mean = 0;
  for (size_t i = 0; i < bins; ++i) mean += share[i] * dshare(i);
  for (size_t i = 0; i < bins; ++i) raw_gradient[i] += share[i] * (dshare(i) - mean);
}

}  // namespace

void validate(const SplineShape& shape) {
  require(shape.bins >= 2 && shape.bins <= 500, "a spline of {} bins: give 2 to 500", shape.bins);
  require(std::isfinite(shape.bound) && shape.bound > 0, "a spline's bound of {}: give more than 0",
          shape.bound);
}

RationalQuadraticSpline::RationalQuadraticSpline(std::span<const double> raw,
                                                 const SplineShape& shape)
    : shape_(shape) {
  validate(shape);
  require(std::ssize(raw) == shape.parameters(), "a spline of {} bins has {} parameters, not {}",
          shape.bins, shape.parameters(), raw.size());
  const auto bins = static_cast<size_t>(shape.bins);
  width_ = softmax(raw.first(bins));
  height_ = softmax(raw.subspan(bins, bins));
  x_ = knots(width_, shape.bound);
  y_ = knots(height_, shape.bound);
  slope_.assign(bins + 1, 1.0);
  for (size_t i = 0; i + 1 < bins; ++i) {
    const double v = raw[2 * bins + i];
    slope_[i + 1] = kLeast + softplus(v);
    slope_gate_.push_back(sigmoid(v));
  }
}

RationalQuadraticSpline::RationalQuadraticSpline(std::vector<double> x, std::vector<double> y)
    : x_(std::move(x)), y_(std::move(y)) {
  const size_t n = x_.size();
  require(n >= 2 && y_.size() == n, "a spline through {} and {} knots", n, y_.size());
  std::vector<double> secant;
  for (size_t i = 0; i + 1 < n; ++i) {
    secant.push_back((y_[i + 1] - y_[i]) / (x_[i + 1] - x_[i]));
    require(x_[i] < x_[i + 1] && std::isfinite(secant[i]) && secant[i] > 0,
            "a spline's knots do not rise");
  }
  slope_.push_back(secant.front());
  for (size_t i = 0; i + 1 < secant.size(); ++i)
    slope_.push_back(2 / (1 / secant[i] + 1 / secant[i + 1]));
  slope_.push_back(secant.back());
}

// Beyond the knots a spline with a shape is the identity, to the bit, another one a line.
std::optional<RationalQuadraticSpline::Value> RationalQuadraticSpline::beyond(
    double v, const std::vector<double>& from, const std::vector<double>& to, double sign) const {
  if (v > from.front() && v < from.back()) return {};
  if (shape_.bins > 0 || std::isnan(v)) return Value{v, 0};
  const bool low = v <= from.front();
  const double log_slope = sign * std::log(low ? slope_.front() : slope_.back());
  return Value{(low ? to.front() : to.back()) +
                   std::exp(log_slope) * (v - (low ? from.front() : from.back())),
               log_slope};
}

RationalQuadraticSpline::Value RationalQuadraticSpline::forward(double x) const {
  if (const auto outside = beyond(x, x_, y_, 1)) return *outside;
  const size_t k = bin_of(x_, x);
  const auto [y, l] =
      rational_quadratic(x, x_[k], x_[k + 1], y_[k], y_[k + 1], slope_[k], slope_[k + 1]);
  return {y, l};
}

RationalQuadraticSpline::Value RationalQuadraticSpline::inverse(double y) const {
  if (const auto outside = beyond(y, y_, x_, -1)) return *outside;
  const size_t k = bin_of(y_, y);
  const double width = x_[k + 1] - x_[k], height = y_[k + 1] - y_[k], s = height / width;
  const double d0 = slope_[k], d1 = slope_[k + 1], e = y - y_[k], bend = d1 + d0 - 2 * s;
  const double a = height * (s - d0) + e * bend, b = height * d0 - e * bend, c = -s * e;
  const double root = std::sqrt(std::max(0.0, b * b - 4 * a * c));
  const double t = e == 0 ? 0 : std::clamp(2 * c / (-b - root), 0.0, 1.0);
  const double x = x_[k] + t * width;
  const double l = rational_quadratic(x, x_[k], x_[k + 1], y_[k], y_[k + 1], d0, d1).second;
  return {x, -l};
}

double RationalQuadraticSpline::backward(double x, double dy, double dlog_derivative,
                                         std::span<double> raw_gradient) const {
  const auto bins = static_cast<size_t>(shape_.bins);
  require(bins > 0, "a spline through knots has no parameters");
  require(raw_gradient.size() == 3 * bins - 1, "a spline's gradient has {} entries, not {}",
          3 * bins - 1, raw_gradient.size());
  if (!(std::abs(x) < shape_.bound)) return dy;
  const size_t k = bin_of(x_, x);
  const auto [y, l] = rational_quadratic(
      Dual::input(x, 0), Dual::input(x_[k], 1), Dual::input(x_[k + 1], 2), Dual::input(y_[k], 3),
      Dual::input(y_[k + 1], 4), Dual::input(slope_[k], 5), Dual::input(slope_[k + 1], 6));
  const auto gradient = [&, &y = y, &l = l](size_t i) {
    return dy * y.d[i] + dlog_derivative * l.d[i];
  };
  through_softmax(width_, shape_.bound, k, gradient(1), gradient(2), raw_gradient.first(bins));
  through_softmax(height_, shape_.bound, k, gradient(3), gradient(4),
                  raw_gradient.subspan(bins, bins));
  if (k > 0) raw_gradient[2 * bins + k - 1] += gradient(5) * slope_gate_[k - 1];
  if (k + 1 < bins) raw_gradient[2 * bins + k] += gradient(6) * slope_gate_[k];
  return gradient(0);
}

}  // namespace diffscm::causal
