#include "evaluation/trials.h"

#include <numeric>

#include "kernels/random.h"

namespace diffscm {

std::vector<int64_t> plausible_targets(int64_t label, int64_t classes) {
  static const std::vector<int64_t> digits[] = {{3, 6, 8}, {4, 7, 9}, {3, 7},    {0, 2, 8},
                                                {1, 9},    {6, 8},    {0, 5, 8}, {1, 2, 9},
                                                {0, 3, 6}, {1, 4, 7}};
  require(label >= 0 && label < classes, "label {} is outside the {} classes", label, classes);
  if (classes == 10) return digits[label];
  std::vector<int64_t> others;
  for (int64_t c = 0; c < classes; ++c)
    if (c != label) others.push_back(c);
  return others;
}

std::vector<Trial> draw_trials(const data::Dataset& dataset, int repeats, int64_t images,
                               uint64_t seed) {
  require(repeats >= 1 && images >= 1, "{} repeats of {} images: give at least 1", repeats, images);
  require(!dataset.labels.empty() && dataset.classes >= 2,
          "{} has no labels: counterfactuals need a factual class", dataset.name);
  require(images <= dataset.size(), "{} different images of {}, which has {}", images, dataset.name,
          dataset.size());
  std::vector<Trial> trials;
  const kernels::RandomKey key{seed, kernels::Purpose::order, 1};
  for (int repeat = 0; repeat < repeats; ++repeat) {
    std::vector<int64_t> order(static_cast<size_t>(dataset.size()));
    std::iota(order.begin(), order.end(), int64_t{0});
    for (int64_t place = 0; place < images; ++place) {
      const kernels::Philox draw =
          kernels::philox(key, static_cast<uint64_t>(repeat), static_cast<uint32_t>(place));
      const int64_t other = place + draw.word[0] % (dataset.size() - place);
      std::swap(order[static_cast<size_t>(place)], order[static_cast<size_t>(other)]);
      Trial t{.id = repeat * images + place,
              .repeat = repeat,
              .index = order[static_cast<size_t>(place)]};
      t.label = dataset.labels[static_cast<size_t>(t.index)];
      const auto targets = plausible_targets(t.label, dataset.classes);
      t.target = targets[draw.word[1] % targets.size()];
      trials.push_back(t);
    }
  }
  return trials;
}

}  // namespace diffscm
