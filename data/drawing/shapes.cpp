#include "data/drawing/shapes.h"

namespace diffscm::data::drawing {
namespace {

constexpr int kSteps = 4;  // straight pieces between two points of a smooth curve

Point spline(Point a, Point b, Point c, Point d, double t) {
  const auto blend = [t](double p, double q, double r, double s) {
    return 0.5 *
           (2 * q + t * (r - p + t * (2 * p - 5 * q + 4 * r - s + t * (3 * (q - r) + s - p))));
  };
  return {blend(a.x, b.x, c.x, d.x), blend(a.y, b.y, c.y, d.y)};
}

// The pieces of the curve through `points`; a closed one leads from the last back to the first.
std::vector<Piece> smooth(const std::vector<Point>& points, bool closed) {
  const int count = static_cast<int>(points.size());
  const auto at = [&](int k) {
    const int place = closed ? (k + count) % count : std::clamp(k, 0, count - 1);
    return points[static_cast<size_t>(place)];
  };
  std::vector<Piece> line;
  Point from = points[0];
  for (int k = 0; k < (closed ? count : count - 1); ++k)
    for (int i = 1; i <= kSteps; ++i) {
      const double t = static_cast<double>(i) / kSteps;
      const Point to = spline(at(k - 1), at(k), at(k + 1), at(k + 2), t);
      const double x = to.x - from.x, y = to.y - from.y;
      line.push_back({from,
                      {x, y},
                      1 / std::max(x * x + y * y, 1e-12),
                      std::min(from.y, to.y),
                      std::max(from.y, to.y)});
      from = to;
    }
  return line;
}

Box box_of(const std::vector<Piece>& line, double margin) {
  Box box{1e9, 1e9, -1e9, -1e9};
  for (const Piece& piece : line)
    for (const double t : {0.0, 1.0}) {
      const double x = piece.from.x + t * piece.along.x, y = piece.from.y + t * piece.along.y;
      box = {std::min(box.left, x), std::min(box.top, y), std::max(box.right, x),
             std::max(box.bottom, y)};
    }
  return {box.left - margin, box.top - margin, box.right + margin, box.bottom + margin};
}

}  // namespace

Stroke::Stroke(const std::vector<Point>& points, double width)
    : line_(smooth(points, false)), radius_(width / 2), box_(box_of(line_, width / 2)) {}

double Stroke::distance(Point p) const {
  double nearest = 1e18;
  for (const Piece& piece : line_) nearest = std::min(nearest, piece.squared_distance(p));
  return std::sqrt(nearest) - radius_;
}

Blob::Blob(const std::vector<Point>& points)
    : outline_(smooth(points, true)), box_(box_of(outline_, 0)) {}

double Blob::distance(Point p) const {
  bool inside = false;  // by the number of edges to the right of p
  double nearest = kReach * kReach;
  for (const Piece& edge : outline_) {
    if (p.y < edge.top - kReach || p.y > edge.bottom + kReach) continue;
    nearest = std::min(nearest, edge.squared_distance(p));
    if (edge.top <= p.y && p.y < edge.bottom &&
        p.x < edge.from.x + edge.along.x * (p.y - edge.from.y) / edge.along.y)
      inside = !inside;
  }
  return inside ? -std::sqrt(nearest) : std::sqrt(nearest);
}

}  // namespace diffscm::data::drawing
