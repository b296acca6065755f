// Values that no network can go on with.
#pragma once

#include <string>

#include "engine/tensor.h"

namespace diffscm {

// Throws Error, naming the file, the tensor and the element, unless all values (f32) are finite.
void require_finite(const std::string& file, const std::string& name, const Tensor& tensor);

}  // namespace diffscm
