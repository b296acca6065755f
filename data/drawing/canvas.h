// A small picture that shapes are painted on, with soft edges.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/drawing/shapes.h"

namespace diffscm::data::drawing {

struct Colour {
  double r = 0, g = 0, b = 0;  // 0 to 1
};

inline Colour mix(Colour a, Colour b, double share_of_b) {
  const auto between = [&](double x, double y) { return x + share_of_b * (y - x); };
  return {between(a.r, b.r), between(a.g, b.g), between(a.b, b.b)};
}
inline Colour times(Colour c, double brightness) {
  return {c.r * brightness, c.g * brightness, c.b * brightness};
}
// Hue in turns from red over green and blue, saturation and value 0 to 1.
Colour from_hsv(double hue, double saturation, double value);

// Where a drawing lies on the canvas: its origin in pixels, turned clockwise and enlarged.
struct Frame {
  Point origin;
  double angle = 0, scale = 1;
};

class Canvas {
 public:
  Canvas(int64_t width, int64_t height)
      : width_(width), height_(height), pixels_(static_cast<size_t>(width * height)) {}

  // Shapes are given in the frame's coordinates; the first frame's are pixels.
  void set_frame(const Frame& frame);

  // Mixes `colour`, or what colour(Point) says in the frame's coordinates, into the pixels by the
  // share of each that the shape covers. The edge is `softness` pixels wide.
  template <class Shape, class Paint>
  void paint(const Shape& shape, const Paint& colour, double opacity = 1, double softness = 1.2) {
    const Pixels range = pixels_of(shape.box(), softness);
    for (int64_t y = range.top; y <= range.bottom; ++y)
      for (int64_t x = range.left; x <= range.right; ++x) {
        const Point p = to_frame(x, y);
        const double cover =
            std::clamp(0.5 - frame_.scale * shape.distance(p) / softness, 0.0, 1.0);
        if (cover == 0) continue;
        Colour& pixel = pixels_[static_cast<size_t>(y * width_ + x)];
        if constexpr (requires { colour(p); })
          pixel = mix(pixel, colour(p), opacity * cover);
        else
          pixel = mix(pixel, colour, opacity * cover);
      }
  }

  // Every pixel becomes change(its colour, its place in the frame).
  template <class Change>
  void change(const Change& change) {
    for (int64_t y = 0; y < height_; ++y)
      for (int64_t x = 0; x < width_; ++x) {
        Colour& pixel = pixels_[static_cast<size_t>(y * width_ + x)];
        pixel = change(pixel, to_frame(x, y));
      }
  }

  // [height, width, 3] in [-1, 1].
  void copy_to(std::span<float> image) const;

 private:
  struct Pixels {
    int64_t left, top, right, bottom;
  };
  Pixels pixels_of(const Box& box, double softness) const;
  Point to_frame(int64_t x, int64_t y) const {
    const double dx = static_cast<double>(x) + 0.5 - frame_.origin.x;
    const double dy = static_cast<double>(y) + 0.5 - frame_.origin.y;
    return {(cos_ * dx + sin_ * dy) / frame_.scale, (cos_ * dy - sin_ * dx) / frame_.scale};
  }

  int64_t width_, height_;
  std::vector<Colour> pixels_;
  Frame frame_;
  double cos_ = 1, sin_ = 0;
};

}  // namespace diffscm::data::drawing
