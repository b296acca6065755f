// True counterfactuals, where the data set knows its world (data/world.h): same noise, other
// class. Distances to them are what every other metric stands in for.
#pragma once

#include "data/dataset.h"
#include "evaluation/metrics/images.h"

namespace diffscm {

// [N,H,W,C]: what image index[i] would be under do(set[i]). Throws Error when the data set does not
// know its world, and for an index, attribute or value that it does not have.
Tensor true_counterfactuals(const data::Dataset& dataset, std::span<const int64_t> index,
                            std::span<const data::Assignment> set);

}  // namespace diffscm
