// Which images an experiment asks about, and what it asks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace diffscm {

struct Trial {
  int64_t id = 0;  // repeat * images + place: names the trial in every file of the experiment
  int repeat = 0;
  int64_t index = 0;           // into the data set
  data::Assignment factual{};  // what is known of that image
  data::Assignment set{};      // do(): what would it have been, had these been so?
};

// The factual and the asked-for states of the one category that all these trials set: what
// classifiers of it guide towards and judge by. Throws Error when they set anything else.
struct States {
  std::vector<int64_t> factual, target;  // one per trial
};
States states_of(std::span<const Trial> trials);

// `repeats` draws of `images` different images each, every one with a uniformly drawn plausible
// state of the category that the data set's labels are. A function of its size and labels and of
// `seed`. Throws Error when the data set is too small, has no labels or one class only.
std::vector<Trial> draw_trials(const data::Dataset& dataset, int repeats, int64_t images,
                               uint64_t seed);

}  // namespace diffscm
