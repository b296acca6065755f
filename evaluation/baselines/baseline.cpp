#include "evaluation/baselines/baseline.h"

#include <algorithm>
#include <cmath>

namespace diffscm::baselines {

std::vector<std::vector<double>> softmax_rows(const Tensor& logits) {
  require(logits.rank() == 2, "a classifier answered {}: expected [N, classes]",
          to_string(logits.shape()));
  const std::vector<float> values = logits.to_vector();
  std::vector<std::vector<double>> rows;
  for (auto row = values.begin(); row != values.end(); row += logits.dim(1)) {
    std::vector<double> p(row, row + logits.dim(1));
    const double largest = *std::max_element(p.begin(), p.end());
    double sum = 0;
    for (double& v : p) sum += v = std::exp(v - largest);
    for (double& v : p) v /= sum;
    rows.push_back(std::move(p));
  }
  return rows;
}

void require_targets(std::span<const int64_t> targets, const Tensor& images, int64_t classes) {
  require(static_cast<int64_t>(targets.size()) == images.dim(0), "{} targets for {} images",
          targets.size(), images.dim(0));
  for (const int64_t target : targets)
    require(target >= 0 && target < classes, "target {} is outside the {} classes", target,
            classes);
}

}  // namespace diffscm::baselines
