// Distance transform and medial axis of a mask, as scikit-image's morphology.medial_axis.
#pragma once

#include <vector>

#include "data/morpho/resample.h"

namespace diffscm::data::morpho {

// [height, width]: squared Euclidean distance of a pixel that is set to the nearest one that is
// not, exactly; 0 for those that are not. What lies beyond the edge does not count. Throws Error
// when every pixel is set.
std::vector<int> squared_distances(const Mask& mask);

// Pixels are taken away, those nearest to the outside first, unless that would break a connection,
// end a line's end or empty the mask. Order among equals: corners first, then the permutation that
// numpy's RandomState(0) draws, which the published measurements are made with.
Mask medial_axis(const Mask& mask, const std::vector<int>& squared_distances);

}  // namespace diffscm::data::morpho
