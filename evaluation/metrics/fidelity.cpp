#include "evaluation/metrics/fidelity.h"

#include <cmath>

#include "diffusion/batch.h"

namespace diffscm {
namespace {

// NaN where `image` is: what went out may not come back.
std::vector<double> distance_back(const Tensor& factual, const Tensor& image) {
  require_images(factual, "the factual images");
  require(image.shape() == factual.shape(), "images {} came back as {}", to_string(factual.shape()),
          to_string(image.shape()));
  return l1_grey_levels(factual, image);
}

}  // namespace

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
    result.push_back(distance_back(factual, image));
  }
  return result;
}

std::vector<double> reversibility(const ClassIntervention& intervene, const Tensor& factual,
                                  const Tensor& counterfactual,
                                  std::span<const int64_t> factual_class) {
  return distance_back(factual, intervene(counterfactual, factual_class));
}

}  // namespace diffscm
