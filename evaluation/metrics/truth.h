// The true counterfactuals of generated digits: same noise, other digit (data/digits.h).
// Distances to them are what every other metric stands in for.
#pragma once

#include "data/dataset.h"
#include "evaluation/metrics/images.h"

namespace diffscm {

// [N,28,28,1]: what images `index` of the data set `digits` would be under do(digit = targets).
// Throws Error for an index outside the split or a target that is no digit.
Tensor true_counterfactuals(data::Split split, uint64_t seed, std::span<const int64_t> index,
                            std::span<const int64_t> targets);

}  // namespace diffscm
