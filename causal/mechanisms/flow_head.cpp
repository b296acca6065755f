#include "causal/mechanisms/flow_head.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace diffscm::causal {
namespace {

constexpr double kLargest = 7;  // |log scale|

double log_scale(double raw) {
  return kLargest * std::tanh(raw / kLargest);
}

RationalQuadraticSpline spline_of(const SplineShape& shape, std::span<const float> outputs) {
  const auto raw = outputs.subspan(2);
  const std::vector<double> exact(raw.begin(), raw.end());
  return {exact, shape};
}

}  // namespace

double FlowHead::to_noise(double z, std::span<const float> outputs) const {
  const double w = (z - outputs[0]) * std::exp(-log_scale(outputs[1]));
  return spline ? spline_of(*spline, outputs).forward(w).value : w;
}

double FlowHead::to_value(double u, std::span<const float> outputs) const {
  const double w = spline ? spline_of(*spline, outputs).inverse(u).value : u;
  return outputs[0] + std::exp(log_scale(outputs[1])) * w;
}

double FlowHead::loss(double z, std::span<const float> outputs, std::span<float> gradient) const {
  const double s = log_scale(outputs[1]), shrink = std::exp(-s), w = (z - outputs[0]) * shrink;
  double u = w, log_derivative = 0, dw = w;
  if (spline) {
    const RationalQuadraticSpline f = spline_of(*spline, outputs);
    const auto value = f.forward(w);
    u = value.value;
    log_derivative = value.log_derivative;
    if (!gradient.empty()) {
      std::vector<double> draw(outputs.size() - 2, 0.0);
      dw = f.backward(w, u, -1, draw);
      std::copy(draw.begin(), draw.end(), gradient.begin() + 2);
    }
  }
  if (!gradient.empty()) {
    gradient[0] = static_cast<float>(-dw * shrink);
    gradient[1] = static_cast<float>((1 - dw * w) * (1 - std::pow(s / kLargest, 2)));
  }
  return u * u / 2 + std::log(2 * std::numbers::pi) / 2 - log_derivative + s;
}

}  // namespace diffscm::causal
