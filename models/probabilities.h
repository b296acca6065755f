// What a classifier says, on the host.
#pragma once

#include <span>
#include <vector>

#include "engine/tensor.h"

namespace diffscm {

// p(class | image), one row per image.
using ClassProbabilities = std::vector<std::vector<float>>;

// The softmax of each row of logits [N, classes].
ClassProbabilities softmax(const Tensor& logits);

// The place of the largest value, the first of equals; of no value at all, -1.
int64_t argmax(std::span<const float> values);

}  // namespace diffscm
