// A number as a network sees it: brought nearer to a standard normal by a monotone function.
#pragma once

#include <nlohmann/json.hpp>
#include <span>

#include "causal/mechanisms/rational_quadratic_spline.h"

namespace diffscm::causal {

// z = (1 - s) standardised x + s normal score Phi^-1(F(x)), F the share of the data below, scaled
// to mean 0 and deviation 1: the first keeps the proportions of long tails, the second gives room
// to values that lie close together. A spline through the data's quantiles; beyond them, a line.
// Monotone, so that no quantile moves by it.
class MarginalTransform {
 public:
  MarginalTransform() : spline_({0, 1}, {0, 1}) {}
  // Of finite numbers, one or more; s = `score_share`, 0 to 1. Where all are equal, z = x - that
  // number.
  static MarginalTransform of(std::span<const double> numbers, double score_share);

  double to(double x) const { return spline_.forward(x).value; }
  double from(double z) const { return spline_.inverse(z).value; }
  double log_slope(double x) const { return spline_.forward(x).log_derivative; }

  // Strict.
  friend void to_json(nlohmann::json& json, const MarginalTransform& transform);
  friend void from_json(const nlohmann::json& json, MarginalTransform& transform);

 private:
  explicit MarginalTransform(RationalQuadraticSpline spline) : spline_(std::move(spline)) {}

  RationalQuadraticSpline spline_;
};

}  // namespace diffscm::causal
