// Standard normal tensors.
#pragma once

#include <span>

#include "engine/tensor.h"

namespace diffscm {

// z ~ N(0, I) of `shape` [N, ...]. Sample i reads stream index[i] of `key` (kernels/random.h), i
// when `index` is empty, whatever else is in the batch. Throws Error unless there is one index per
// sample.
Tensor standard_normal(const Shape& shape, const kernels::RandomKey& key,
                       std::span<const int64_t> index, Target target);

}  // namespace diffscm
