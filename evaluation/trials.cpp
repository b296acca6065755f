#include "evaluation/trials.h"

#include <numeric>

#include "kernels/random.h"

namespace diffscm {

std::vector<Trial> draw_trials(const data::Dataset& dataset, int repeats, int64_t images,
                               uint64_t seed) {
  require(repeats >= 1 && images >= 1, "{} repeats of {} images: give at least 1", repeats, images);
  require(!dataset.labels.empty(), "{} has no labels: counterfactuals need a factual class",
          dataset.name);
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
      const auto targets = dataset.plausible_targets(t.label);
      t.target = targets[draw.word[1] % targets.size()];
      trials.push_back(t);
    }
  }
  return trials;
}

}  // namespace diffscm
