// Where to write the names of points so that they can be read.
#pragma once

#include <vector>

namespace diffscm::apps {

struct Box {
  double left = 0, top = 0, right = 0, bottom = 0;

  double overlap(const Box& other) const;  // area
};

// One box of size (width[i], height) beside each anchor, inside `frame`. Of the places around each
// anchor, near ones first, it takes the one that covers least of the labels placed before and of
// `marks` (points, error bars). Order and result depend on the arguments alone.
struct LabelAnchor {
  double x = 0, y = 0, width = 0;
};
std::vector<Box> place_labels(const std::vector<LabelAnchor>& anchors, double height,
                              const std::vector<Box>& marks, const Box& frame);

}  // namespace diffscm::apps
