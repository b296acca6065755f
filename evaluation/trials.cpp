#include "evaluation/trials.h"

#include <cmath>
#include <numeric>

#include "kernels/random.h"

namespace diffscm {

States states_of(std::span<const Trial> trials) {
  States states;
  for (const Trial& t : trials) {
    require(t.set.size() == 1, "trial {} sets {} attributes: classifiers know one", t.id,
            t.set.size());
    const std::string& name = trials.front().set.begin()->first;
    const auto state = [&](const data::Assignment& values) {
      const auto found = values.find(name);
      require(
          found != values.end() && found->second >= 0 && found->second == std::floor(found->second),
          "trial {} has no state of '{}'", t.id, name);
      return static_cast<int64_t>(found->second);
    };
    states.factual.push_back(state(t.factual));
    states.target.push_back(state(t.set));
  }
  return states;
}

std::vector<Trial> draw_trials(const data::Dataset& dataset, int repeats, int64_t images,
                               uint64_t seed) {
  require(repeats >= 1 && images >= 1, "{} repeats of {} images: give at least 1", repeats, images);
  require(!dataset.labels.empty(), "{} has no labels: counterfactuals need a factual class",
          dataset.name);
  require(images <= dataset.size(), "{} different images of {}, which has {}", images, dataset.name,
          dataset.size());
  const std::string& attribute = dataset.label_attribute().name;
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
      const int64_t index = order[static_cast<size_t>(place)];
      const auto targets = dataset.plausible_targets(dataset.labels[static_cast<size_t>(index)]);
      const int64_t target = targets[draw.word[1] % targets.size()];
      trials.push_back({.id = repeat * images + place,
                        .repeat = repeat,
                        .index = index,
                        .factual = dataset.factual(index),
                        .set = {{attribute, static_cast<double>(target)}}});
    }
  }
  return trials;
}

}  // namespace diffscm
