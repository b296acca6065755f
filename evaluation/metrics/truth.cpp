#include "evaluation/metrics/truth.h"

#include "data/digits.h"

namespace diffscm {

Tensor true_counterfactuals(data::Split split, uint64_t seed, std::span<const int64_t> index,
                            std::span<const int64_t> targets) {
  const int64_t size = split == data::Split::train ? data::kDigitsTrain : data::kDigitsTest;
  require_classes(targets, static_cast<int64_t>(index.size()), 10, "target digits");
  std::vector<float> pixels;
  for (size_t i = 0; i < index.size(); ++i) {
    require(index[i] >= 0 && index[i] < size, "digits has no {} image {}: give 0 to {}",
            data::name_of(split), index[i], size - 1);
    const data::DigitNoise noise = data::sample_noise(seed, data::world_index(split, index[i]));
    data::DigitIntervention intervention;
    intervention.digit = static_cast<int>(targets[i]);
    const std::vector<float> image = data::render(data::counterfactual(noise, intervention), noise);
    pixels.insert(pixels.end(), image.begin(), image.end());
  }
  return Tensor::from(pixels,
                      {static_cast<int64_t>(index.size()), data::kDigitSide, data::kDigitSide, 1});
}

}  // namespace diffscm
