#include "evaluation/metrics/truth.h"

namespace diffscm {

Tensor true_counterfactuals(const data::Dataset& dataset, std::span<const int64_t> index,
                            std::span<const data::Assignment> set) {
  require(dataset.world != nullptr, "the true counterfactuals of {} are not known", dataset.name);
  require(index.size() == set.size(), "{} interventions for {} images", set.size(), index.size());
  std::vector<float> pixels;
  for (size_t i = 0; i < index.size(); ++i) {
    const std::vector<float> image = dataset.world->image(index[i], set[i]);
    pixels.insert(pixels.end(), image.begin(), image.end());
  }
  return Tensor::from(pixels, {std::ssize(index), dataset.height, dataset.width, dataset.channels});
}

}  // namespace diffscm
