#include "causal/mechanisms/marginal_transform.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "causal/mechanisms/features.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr size_t kKnots = 48;
constexpr double kRare = 0.002;  // no knot lies further out

// Phi^-1: Newton's method on erfc, from the logistic approximation.
double normal_score(double p) {
  double z = std::log(p / (1 - p)) / 1.702;
  for (int i = 0; i < 8; ++i)
    z += (p - std::erfc(-z / std::sqrt(2.0)) / 2) * std::sqrt(2 * std::numbers::pi) *
         std::exp(z * z / 2);
  return z;
}

}  // namespace

MarginalTransform MarginalTransform::of(std::span<const double> numbers, double score_share) {
  const Standard standard = Standard::of(numbers);
  std::vector<double> sorted(numbers.begin(), numbers.end());
  std::sort(sorted.begin(), sorted.end());
  // Equal quantiles are one knot, with the mean of their scores.
  std::vector<double> x, y;
  size_t equal = 0;
  for (size_t k = 0; k < kKnots; ++k) {
    const double p = std::clamp(static_cast<double>(k) / (kKnots - 1), kRare, 1 - kRare);
    const double at = quantile(sorted, p), score = normal_score(p);
    if (x.empty() || at - x.back() > 1e-9 * standard.deviation) {
      x.push_back(at);
      y.push_back(score);
      equal = 1;
    } else {
      ++equal;
      y.back() += (score - y.back()) / static_cast<double>(equal);
    }
  }
  if (x.size() == 1) return MarginalTransform(RationalQuadraticSpline({x[0], x[0] + 1}, {0, 1}));
  for (size_t k = 0; k < x.size(); ++k)
    y[k] = score_share * y[k] + (1 - score_share) * standard.to(x[k]);
  const RationalQuadraticSpline unscaled(x, y);
  std::vector<double> z;
  for (const double number : numbers) z.push_back(unscaled.forward(number).value);
  const Standard scale = Standard::of(z);
  for (double& v : y) v = scale.to(v);
  return MarginalTransform(RationalQuadraticSpline(std::move(x), std::move(y)));
}

void to_json(nlohmann::json& json, const MarginalTransform& transform) {
  json = {{"x", transform.spline_.x()}, {"z", transform.spline_.y()}};
}

void from_json(const nlohmann::json& json, MarginalTransform& transform) {
  require(json.is_object() && json.size() == 2, "a transform has the knots x and z");
  transform = MarginalTransform(RationalQuadraticSpline(json.at("x").get<std::vector<double>>(),
                                                        json.at("z").get<std::vector<double>>()));
}

}  // namespace diffscm::causal
