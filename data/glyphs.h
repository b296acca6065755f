// How a hand writes the digits: the skeleton of each as strokes through a few points.
#pragma once

#include <span>

namespace diffscm::data {

// x to the right and y down in the unit box. The pen turns smoothly through a point, sharply at a
// corner.
struct StrokePoint {
  float x, y;
  bool corner = false;
};

struct Stroke {
  std::span<const StrokePoint> points;
  bool closed = false;  // a smooth loop back to the first point
};

using Glyph = std::span<const Stroke>;

// At most this many points in all strokes of a glyph together.
constexpr int kMaxGlyphPoints = 24;

// The way of writing `digit` (0 to 9) chosen by `hand` in [0, 1): a seven with or without a bar, an
// open or closed four, ... Each way takes an equal share of [0, 1).
Glyph glyph(int digit, double hand);

}  // namespace diffscm::data
