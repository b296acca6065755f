// Which images an experiment asks about, and what it asks.
#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace diffscm {

struct Trial {
  int64_t id = 0;  // repeat * images + place: names the trial in every file of the experiment
  int repeat = 0;
  int64_t index = 0;  // into the data set
  int64_t label = 0, target = 0;
};

// `repeats` draws of `images` different images each, with a uniformly drawn plausible target. A
// function of the data set's size and labels and of `seed`. Throws Error when the data set is too
// small, has no labels or one class only.
std::vector<Trial> draw_trials(const data::Dataset& dataset, int repeats, int64_t images,
                               uint64_t seed);

}  // namespace diffscm
