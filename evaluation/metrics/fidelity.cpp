#include "evaluation/metrics/fidelity.h"

#include <cmath>

#include "diffusion/batch.h"

namespace diffscm {
std::vector<double> l1_distance(const Tensor& a, const Tensor& b) {
  require_pair(a, b);
  return l1_grey_levels(a, b);
}

std::vector<double> l0_distance(const Tensor& a, const Tensor& b, double threshold) {
  require(threshold >= 0, "L0: the threshold is {} grey levels, must not be negative", threshold);
  require_pair(a, b);
  const std::vector<float> x = a.to_vector(), y = b.to_vector();
  const size_t n = static_cast<size_t>(a.dim(0)), pixels = x.size() / n;
  std::vector<double> share(n, 0);
  for (size_t i = 0; i < x.size(); ++i)
    if (std::abs(double{x[i]} - double{y[i]}) * kGreyLevels > threshold)
      share[i / pixels] += 1.0 / static_cast<double>(pixels);
  return share;
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
                                  const Tensor& counterfactual,
                                  std::span<const int64_t> factual_class) {
  return l1_distance(factual, intervene(counterfactual, factual_class));
}

}  // namespace diffscm
