// Measuring handwritten digits: Castro, Tan, Kainz, Konukoglu and Glocker 2019, "Morpho-MNIST:
// quantitative assessment and diagnostics for representation learning" (JMLR 20), section 2.
#pragma once

#include <optional>

#include "data/morpho/resample.h"

namespace diffscm::data::morpho {

constexpr int kMeasureScale = 4, kEditScale = 16;

// A digit enlarged, its stroke (levels in the upper half of their range) and the middle of the
// stroke. Lengths are in pixels of the enlarged image.
struct Morphology {
  GreyImage hires;
  Mask stroke;
  Mask skeleton;         // medial axis
  double thickness = 0;  // twice the mean distance to the background along it, in digit's pixels
};

// None when all pixels are equal: there is no stroke.
std::optional<Morphology> analyse(const GreyImage& digit, int scale);

// In pixels of the digit (area: their squares) and radians, positive to the right.
struct Morphometrics {
  double area = 0, length = 0, thickness = 0, slant = 0, width = 0, height = 0;
};

// None when all pixels are equal.
std::optional<Morphometrics> measure(const GreyImage& digit, int scale = kMeasureScale);

// Central second moments of the levels.
struct Moments {
  double x = 0, y = 0;  // centre
  double u20 = 0, u11 = 0, u02 = 0;
};
Moments moments_of(const GreyImage& image);

// Morphometrics::width of an enlarged image, in its own pixels: along its slant, without the 2% of
// its levels that lie furthest out.
double width_of(const GreyImage& image);

// The median of the levels in the upper half of their range.
double intensity_of(const GreyImage& digit);

}  // namespace diffscm::data::morpho
