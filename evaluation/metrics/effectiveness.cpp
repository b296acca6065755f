#include "evaluation/metrics/effectiveness.h"

namespace diffscm {

std::vector<Effectiveness> effectiveness(const ClassProbabilities& probabilities,
                                         std::span<const int64_t> targets) {
  require(!probabilities.empty(), "effectiveness: there is no image");
  const size_t classes = probabilities.front().size();
  require_classes(targets, static_cast<int64_t>(probabilities.size()),
                  static_cast<int64_t>(classes), "target classes");
  std::vector<Effectiveness> result;
  for (size_t i = 0; i < probabilities.size(); ++i) {
    const std::vector<float>& p = probabilities[i];
    require(p.size() == classes, "effectiveness: {} probabilities for image {}, {} for the first",
            p.size(), i, classes);
    for (const float v : p)
      require(v >= 0 && v <= 1.0001f, "effectiveness: image {} has a probability of {}", i, v);
    const int64_t predicted = argmax(p);
    result.push_back(
        {predicted, predicted == targets[i], double{p[static_cast<size_t>(targets[i])]}});
  }
  return result;
}

bool adversarial(const Effectiveness& oracle, const Effectiveness& guide) {
  return guide.flip && !oracle.flip;
}

}  // namespace diffscm
