#include "causal/mechanisms/mixture_head.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace diffscm::causal {
namespace {

constexpr double kLargest = 5;  // |log scale|

// log sum exp; `terms` become their shares.
double log_sum(std::vector<double>& terms) {
  const double top = *std::max_element(terms.begin(), terms.end());
  double total = 0;
  for (double& t : terms) total += t = std::exp(t - top);
  for (double& t : terms) t /= total;
  return top + std::log(total);
}

}  // namespace

double MixtureHead::loss(double z, std::span<const float> outputs,
                         std::span<float> gradient) const {
  const size_t n = components;
  std::vector<double> weight(outputs.begin(), outputs.begin() + static_cast<ptrdiff_t>(n));
  const double all = log_sum(weight);
  std::vector<double> posterior(n), off(n), log_scale(n);
  for (size_t k = 0; k < n; ++k) {
    const double start = n > 1 ? 4 * static_cast<double>(k) / static_cast<double>(n - 1) - 2 : 0;
    log_scale[k] = kLargest * std::tanh(outputs[2 * n + k] / kLargest);
    off[k] = (z - outputs[n + k] - start) * std::exp(-log_scale[k]);
    posterior[k] =
        outputs[k] - all - log_scale[k] - off[k] * off[k] / 2 - std::log(2 * std::numbers::pi) / 2;
  }
  const double log_p = log_sum(posterior);
  for (size_t k = 0; k < n && !gradient.empty(); ++k) {
    const double p = posterior[k];
    gradient[k] = static_cast<float>(weight[k] - p);
    gradient[n + k] = static_cast<float>(-p * off[k] * std::exp(-log_scale[k]));
    gradient[2 * n + k] =
        static_cast<float>(p * (1 - off[k] * off[k]) * (1 - std::pow(log_scale[k] / kLargest, 2)));
  }
  return -log_p;
}

}  // namespace diffscm::causal
