// What the baselines share: the functions of an image that they differentiate, and their answer.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "autograd/variable.h"

namespace diffscm::baselines {

// A differentiable function of a batch of images [N,H,W,C]. Pixels are in [-1, 1] unless said.
using ImageFunction = std::function<Variable(const Variable& images)>;

struct Explanation {
  Tensor image;                 // [N,H,W,C] in [-1, 1]; the last attempt where none was found
  std::vector<uint8_t> found;   // the classifier being explained says `target`
  std::vector<int> iterations;  // gradient evaluations spent on each image
};

// Throws Error unless there is one target per image, each a class of the classifier.
void require_targets(std::span<const int64_t> targets, const Tensor& images, int64_t classes);

}  // namespace diffscm::baselines
