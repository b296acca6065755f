#include "evaluation/metrics/fidelity.h"

#include <cmath>

namespace diffscm {
namespace {

// Mean over each image's pixels of f(|a - b| in grey levels).
template <class F>
std::vector<double> mean_of_difference(const Tensor& a, const Tensor& b, F&& f) {
  require_pair(a, b);
  const std::vector<float> x = a.to_vector(), y = b.to_vector();
  const size_t n = static_cast<size_t>(a.dim(0)), pixels = x.size() / n;
  std::vector<double> result(n, 0);
  for (size_t i = 0; i < x.size(); ++i)
    result[i / pixels] += f(std::abs(double{x[i]} - double{y[i]}) * kGreyLevels);
  for (double& v : result) v /= static_cast<double>(pixels);
  return result;
}

}  // namespace

std::vector<double> l1_distance(const Tensor& a, const Tensor& b) {
  return mean_of_difference(a, b, [](double d) { return d; });
}

std::vector<double> l0_distance(const Tensor& a, const Tensor& b, double threshold) {
  require(threshold >= 0, "L0: the threshold is {} grey levels, must not be negative", threshold);
  return mean_of_difference(a, b, [&](double d) { return d > threshold ? 1.0 : 0.0; });
}

std::vector<std::vector<double>> composition(const NullIntervention& null, const Tensor& factual,
                                             std::span<const int> cycles) {
  std::vector<std::vector<double>> result;
  Tensor image = factual;
  int done = 0;
  for (const int until : cycles) {
    require(until > done, "composition: cycles {} after {}, must be positive and ascending", until,
            done);
    for (; done < until; ++done) image = null(image);
    result.push_back(l1_distance(factual, image));
  }
  return result;
}

std::vector<double> reversibility(const ClassIntervention& intervene, const Tensor& factual,
                                  std::span<const int64_t> factual_class,
                                  std::span<const int64_t> target_class) {
  return l1_distance(factual, intervene(intervene(factual, target_class), factual_class));
}

}  // namespace diffscm
