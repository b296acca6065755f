// Shapes by their signed distance: negative inside, and about the distance to the edge near it.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace diffscm::data::drawing {

struct Point {
  double x = 0, y = 0;  // to the right, down
};

struct Box {
  double left, top, right, bottom;
};

// The distance is exact for circles, and to first order at the edge of others.
struct Ellipse {
  Point centre;
  double rx, ry;

  Box box() const { return {centre.x - rx, centre.y - ry, centre.x + rx, centre.y + ry}; }
  double distance(Point p) const {
    const double u = (p.x - centre.x) / rx, v = (p.y - centre.y) / ry;
    const double f = std::sqrt(u * u + v * v);
    const double gradient = std::sqrt(u * u / (rx * rx) + v * v / (ry * ry));
    return gradient < 1e-9 ? -std::min(rx, ry) : f * (f - 1) / gradient;
  }
};

// A straight piece of a line, ready for the distance of many points.
struct Piece {
  Point from, along;
  double per_squared_length;
  double top, bottom;

  double squared_distance(Point p) const {
    const double x = p.x - from.x, y = p.y - from.y;
    const double t = std::clamp((x * along.x + y * along.y) * per_squared_length, 0.0, 1.0);
    const double ex = x - t * along.x, ey = y - t * along.y;
    return ex * ex + ey * ey;
  }
};

// A smooth line through `points` (Catmull-Rom), round at the ends.
class Stroke {
 public:
  Stroke(const std::vector<Point>& points, double width);
  Box box() const { return box_; }
  double distance(Point p) const;

 private:
  std::vector<Piece> line_;
  double radius_;
  Box box_;
};

// The inside of a smooth closed curve through `points`, in either direction. Distances are cut at
// kReach: no softer edges.
class Blob {
 public:
  static constexpr double kReach = 1.5;
  explicit Blob(const std::vector<Point>& points);
  Box box() const { return box_; }
  double distance(Point p) const;

 private:
  std::vector<Piece> outline_;
  Box box_;
};

}  // namespace diffscm::data::drawing
