// Both splits of a data set at once.
#pragma once

#include "data/dataset.h"

namespace diffscm::data {

struct Splits {
  Dataset train, test;
};
// As load_dataset() loads each, but pictures in folders and tar files are listed once, and those
// that serve both splits decoded once.
Splits load_splits(const std::string& spec, uint64_t seed = 0);

}  // namespace diffscm::data
