#include "models/probabilities.h"

#include <algorithm>

namespace diffscm {

ClassProbabilities softmax(const Tensor& logits) {
  require(logits.rank() == 2, "a classifier answered {}: expected [N, classes]",
          to_string(logits.shape()));
  const int64_t n = logits.dim(0), classes = logits.dim(1);
  const Tensor label =
      Tensor::from(std::vector<int64_t>(static_cast<size_t>(n), 0), {n}, logits.target());
  Tensor log_p({n}, logits.target()), p({n, classes}, logits.target());
  operators(logits.target())
      .log_softmax({n, classes, 1.0f, logits.data(), label.data_i64(), log_p.mutable_data(),
                    p.mutable_data(), nullptr});
  const std::vector<float> flat = p.to_vector();
  ClassProbabilities rows;
  for (auto row = flat.begin(); row != flat.end(); row += classes)
    rows.emplace_back(row, row + classes);
  return rows;
}

int64_t argmax(std::span<const float> values) {
  return values.empty() ? -1 : std::max_element(values.begin(), values.end()) - values.begin();
}

}  // namespace diffscm
