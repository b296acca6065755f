// A number measured from an image: the child of an image node.
#pragma once

#include <memory>

#include "causal/mechanism.h"

namespace diffscm::causal {

// value = what is measured of the image, by `of`, + noise; the noise normal, its mean and deviation
// those of the data.
//   of = "brightness"   mean of the pixels, from 0 (black) to 1 (white)
//        "contrast"     their standard deviation, on the same scale
//        "ink"          share of the pixels brighter than half
//        "thickness", "intensity", "slant"   of a handwritten digit (data/morpho/morphometry.h):
//                       pixels; levels 0 to 255; radians. 0 of an image without a stroke
std::unique_ptr<Mechanism> make_measurement(const Role& role);

}  // namespace diffscm::causal
