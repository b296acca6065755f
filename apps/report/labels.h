// Where to write the names of points so that they can be read.
#pragma once

#include <vector>

namespace diffscm::apps {

struct Box {
  double left = 0, top = 0, right = 0, bottom = 0;

  double overlap(const Box& other) const;  // area
};

struct LabelAnchor {
  double x = 0, y = 0, width = 0;
};

// From an anchor to the nearest place of its label.
struct Leader {
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;

  Leader(const LabelAnchor& anchor, const Box& label);
  double length() const;
  double inside(const Box& box) const;  // length of the part
};

// One box of size (width[i], height) beside each anchor, inside `frame`. Of the places around each
// anchor, near ones first, it takes the one that covers least of the labels placed before, of their
// leaders and of `marks` (points, error bars), and whose own leader crosses least of those labels.
// Order and result depend on the arguments alone.
std::vector<Box> place_labels(const std::vector<LabelAnchor>& anchors, double height,
                              const std::vector<Box>& marks, const Box& frame);

}  // namespace diffscm::apps
