// Changing the shape of handwritten digits: Morpho-MNIST's perturbations that take a target
// (morphomnist/perturb.py, and SetThickness, SetSlant and SetWidth of Pawlowski, Castro and Glocker
// 2020).
#pragma once

#include "data/morpho/morphometry.h"

namespace diffscm::data::morpho {

// Which offsets SetThickness moves its brush over: of each row, |b| <= half[|a|]; half[r] >= 0.
// Morpho-MNIST reduces a disk of radius 16 r by 16 and takes every pixel that is not 0, so that the
// brush is nearly square: (a, b) belongs to it if max(0, floor(|a| c) - 21)^2 +
// max(0, floor(|b| c) - 21)^2 <= (16 r)^2 with c = (32 r + 1) / (2 r + 1).
std::vector<int> brush(int radius);

// Every pixel that the brush reaches from a pixel of the mask; taken away: every pixel from which
// it reaches outside the mask. What lies beyond the edge does not count.
Mask dilated(const Mask& mask, const std::vector<int>& brush);
Mask eroded(const Mask& mask, const std::vector<int>& brush);

// The stroke made thicker or thinner by thickness - digit.thickness. The brush is as coarse as it
// is square: the result measures more than asked for, 6.8 for 6 and 1.7 for 1.5.
Mask with_thickness(const Morphology& digit, double thickness);
// Leaning to the right by that many radians, about the centre of the stroke.
Mask with_slant(const Morphology& digit, double radians);
// As wide as that, in the digit's pixels (Morphometrics::width), by stretching along the slant;
// above 0.
Mask with_width(const Morphology& digit, double width);

// The digit with its median level (intensity_of) moved to `intensity`, 0 to 255. A black
// image stays black.
GreyImage with_intensity(const GreyImage& digit, double intensity);

}  // namespace diffscm::data::morpho
