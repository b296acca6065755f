#include "data/drawing/canvas.h"

#include "kernels/error.h"

namespace diffscm::data::drawing {

Colour from_hsv(double hue, double saturation, double value) {
  const auto channel = [&](double offset) {
    const double k = std::fmod(offset + 6 * (hue - std::floor(hue)), 6.0);
    return value * (1 - saturation * std::clamp(std::min(k, 4 - k), 0.0, 1.0));
  };
  return {channel(5), channel(3), channel(1)};
}

void Canvas::set_frame(const Frame& frame) {
  frame_ = frame;
  cos_ = std::cos(frame.angle);
  sin_ = std::sin(frame.angle);
}

// The pixels that the box, turned with the frame, may touch.
Canvas::Pixels Canvas::pixels_of(const Box& box, double softness) const {
  const double margin = softness / 2 + 0.5;
  double left = 1e9, right = -1e9, top = 1e9, bottom = -1e9;
  for (const double x : {box.left, box.right})
    for (const double y : {box.top, box.bottom}) {
      const double px = frame_.origin.x + frame_.scale * (cos_ * x - sin_ * y);
      const double py = frame_.origin.y + frame_.scale * (sin_ * x + cos_ * y);
      left = std::min(left, px);
      right = std::max(right, px);
      top = std::min(top, py);
      bottom = std::max(bottom, py);
    }
  const auto first = [margin](double at) {
    return static_cast<int64_t>(std::max(0.0, std::floor(at - margin)));
  };
  const auto last = [margin](double at, int64_t size) {
    return static_cast<int64_t>(
        std::clamp(std::floor(at + margin), -1.0, static_cast<double>(size - 1)));
  };
  return {first(left), first(top), last(right, width_), last(bottom, height_)};
}

void Canvas::copy_to(std::span<float> image) const {
  require(image.size() == 3 * pixels_.size(), "a canvas of {} values, an image of {}",
          3 * pixels_.size(), image.size());
  const auto level = [](double v) { return static_cast<float>(2 * std::clamp(v, 0.0, 1.0) - 1); };
  auto out = image.begin();
  for (const Colour& c : pixels_)
    for (const double v : {c.r, c.g, c.b}) *out++ = level(v);
}

}  // namespace diffscm::data::drawing
