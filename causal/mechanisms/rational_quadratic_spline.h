// A monotone piecewise rational-quadratic function of one variable (Durkan et al. 2019, "Neural
// spline flows"; Gregory & Delbourgo 1982): a bijection with a closed inverse. All in double.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace diffscm::causal {

struct SplineShape {
  int bins = 8;      // K
  double bound = 4;  // B: the spline acts on [-B, B] and is the identity outside
  int parameters() const { return 3 * bins - 1; }
};
// Throws Error naming the value that cannot be used.
void validate(const SplineShape& shape);

// `raw` are 3K - 1 unconstrained numbers, as nflows reads them: K widths and K heights through
// m + (1 - mK) softmax with m = 1e-3, then K - 1 slopes at the inner knots through 1e-3 + softplus.
// The slopes at -B and B are 1, so that the function is continuously differentiable everywhere.
class RationalQuadraticSpline {
 public:
  RationalQuadraticSpline(std::span<const double> raw, const SplineShape& shape);
  // Through knots, x and y both rising, two or more: the slope at a knot is the harmonic mean of
  // its neighbours' secants, at an end the secant, with which it goes on as a line. Throws Error
  // for other knots.
  RationalQuadraticSpline(std::vector<double> x, std::vector<double> y);

  struct Value {
    double value, log_derivative;  // y and log dy/dx of forward(); x and log dx/dy of inverse()
  };
  Value forward(double x) const;
  // The other root form of eq. 29-31, which is stable where the quadratic's leading term vanishes.
  Value inverse(double y) const;

  // Of a spline with a shape. Gradients of a loss L(y, l) with y, l = forward(x): adds dL/d raw to
  // `raw_gradient` [3K - 1] and returns dL/dx, given dL/dy and dL/dl.
  double backward(double x, double dy, double dlog_derivative,
                  std::span<double> raw_gradient) const;

  const std::vector<double>& x() const { return x_; }
  const std::vector<double>& y() const { return y_; }

 private:
  std::optional<Value> beyond(double v, const std::vector<double>& from,
                              const std::vector<double>& to, double sign) const;

  SplineShape shape_{.bins = 0};        // 0: through knots
  std::vector<double> width_, height_;  // softmax shares [K]
  std::vector<double> x_, y_, slope_;   // knots [K + 1]
  std::vector<double> slope_gate_;      // d slope / d raw [K - 1]: sigmoid(raw)
};

}  // namespace diffscm::causal
