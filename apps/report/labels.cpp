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

Leader::Leader(const LabelAnchor& anchor, const Box& label)
    : x0(anchor.x),
      y0(anchor.y),
      x1(std::clamp(anchor.x, label.left, label.right)),
      y1(std::clamp(anchor.y, label.top, label.bottom)) {}

double Leader::length() const {
  return std::hypot(x1 - x0, y1 - y0);
}

double Leader::inside(const Box& box) const {
  double enter = 0, leave = 1;  // along the leader (Liang & Barsky 1984)
  const auto clip = [&](double start, double step, double low, double high) {
    if (step == 0) {
      if (start <= low || start >= high) leave = 0;
      return;
    }
    const double a = (low - start) / step, b = (high - start) / step;
    enter = std::max(enter, std::min(a, b));
    leave = std::min(leave, std::max(a, b));
  };
  clip(x0, x1 - x0, box.left, box.right);
  clip(y0, y1 - y0, box.top, box.bottom);
  return length() * std::max(0.0, leave - enter);
}

std::vector<Box> place_labels(const std::vector<LabelAnchor>& anchors, double height,
                              const std::vector<Box>& marks, const Box& frame) {
  std::vector<Box> placed;
  std::vector<Leader> leaders;
  for (const LabelAnchor& anchor : anchors) {
    Box best;
    double least = std::numeric_limits<double>::infinity();
    for (const double distance : {8.0, 16.0, 28.0, 42.0, 60.0, 80.0, 110.0}) {
      for (int k = 0; k < 16; ++k) {
        const Box box = beside(anchor, height, 2 * kPi * k / 16, distance);
        double cost = distance + (inside(box, frame) ? 0 : 1e6);
        const Leader leader(anchor, box);
        for (const Box& other : placed) cost += 100 * (box.overlap(other) + leader.inside(other));
        for (const Leader& other : leaders) cost += 100 * other.inside(box);
        for (const Box& mark : marks) cost += 10 * box.overlap(mark);
        if (cost >= least) continue;
        least = cost;
        best = box;
      }
    }
    placed.push_back(best);
    leaders.emplace_back(anchor, best);
  }
  return placed;
}

}  // namespace diffscm::apps
