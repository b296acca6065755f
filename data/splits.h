// Both splits of a data set at once.
#pragma once

#include <span>
#include <vector>

#include "data/dataset.h"

namespace diffscm::data {

struct Splits {
  Dataset train, test;
};
// As load_dataset() loads each, but pictures in folders and tar files are listed once, and those
// that serve both splits decoded once.
Splits load_splits(const std::string& spec, uint64_t seed = 0);

// The sets of those splits, each of which `build` makes. Where there is no test data, images that
// were decoded for one split are those of the other.
template <class Build>
std::vector<Dataset> build_splits(std::span<const Split> splits, bool has_test, Build&& build) {
  std::vector<Dataset> sets;
  for (const Split split : splits) {
    if (!has_test && !sets.empty())
      sets.push_back(sets.front());
    else
      sets.push_back(build(has_test ? split : Split::train));
    sets.back().has_test = has_test;
  }
  return sets;
}

}  // namespace diffscm::data
