#include "apps/report/labels.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace diffscm::apps {
namespace {

constexpr double kPi = 3.14159265358979323846;

// The box whose nearest edge or corner lies `distance` from the anchor in the given direction.
Box beside(const LabelAnchor& a, double height, double angle, double distance) {
  const double cosine = std::cos(angle), sine = std::sin(angle);
  const double x = a.x + distance * cosine + 0.5 * a.width * std::clamp(1.5 * cosine, -1.0, 1.0);
  const double y = a.y + distance * sine + 0.5 * height * std::clamp(1.5 * sine, -1.0, 1.0);
  return {x - 0.5 * a.width, y - 0.5 * height, x + 0.5 * a.width, y + 0.5 * height};
}

bool inside(const Box& box, const Box& frame) {
  return box.left >= frame.left && box.right <= frame.right && box.top >= frame.top &&
         box.bottom <= frame.bottom;
}

}  // namespace

double Box::overlap(const Box& other) const {
  const double width = std::min(right, other.right) - std::max(left, other.left);
  const double height = std::min(bottom, other.bottom) - std::max(top, other.top);
  return width > 0 && height > 0 ? width * height : 0;
}

std::vector<Box> place_labels(const std::vector<LabelAnchor>& anchors, double height,
                              const std::vector<Box>& marks, const Box& frame) {
  std::vector<Box> placed;
  for (const LabelAnchor& anchor : anchors) {
    Box best;
    double least = std::numeric_limits<double>::infinity();
    for (const double distance : {8.0, 16.0, 28.0, 42.0, 60.0, 80.0, 110.0}) {
      for (int k = 0; k < 16; ++k) {
        const Box box = beside(anchor, height, 2 * kPi * k / 16, distance);
        double cost = distance + (inside(box, frame) ? 0 : 1e6);
        for (const Box& other : placed) cost += 100 * box.overlap(other);
        for (const Box& mark : marks) cost += 10 * box.overlap(mark);
        if (cost >= least) continue;
        least = cost;
        best = box;
      }
    }
    placed.push_back(best);
  }
  return placed;
}

}  // namespace diffscm::apps
