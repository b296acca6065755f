#include "evaluation/metrics/truth.h"

namespace diffscm {

Tensor true_counterfactuals(const data::Dataset& dataset, std::span<const int64_t> index,
                            std::span<const int64_t> targets) {
  require(dataset.world != nullptr, "the true counterfactuals of {} are not known", dataset.name);
  const auto n = static_cast<int64_t>(index.size());
  require_classes(targets, n, dataset.classes, "target classes");
  const std::string& name = dataset.label_attribute().name;
  std::vector<float> pixels;
  for (size_t i = 0; i < index.size(); ++i) {
    const auto image = dataset.world->image(index[i], {{name, static_cast<double>(targets[i])}});
    pixels.insert(pixels.end(), image.begin(), image.end());
  }
  return Tensor::from(pixels, {n, dataset.height, dataset.width, dataset.channels});
}

}  // namespace diffscm
