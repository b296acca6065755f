// How a face of the world `faces` is drawn. Lengths are pixels of a face in the middle of a picture
// of 32 x 32, the origin between eyes and nose.
#include <array>

#include "data/drawing/canvas.h"
#include "data/faces.h"

namespace diffscm::data {
namespace {

using namespace drawing;

constexpr Colour kWhite{1, 1, 1};

// The colour at `place` in [0, 1] along evenly spaced colours.
template <size_t N>
Colour along(const std::array<Colour, N>& palette, double place) {
  const double at = place * (N - 1);
  const auto k = std::min(static_cast<size_t>(at), N - 2);
  return mix(palette[k], palette[k + 1], at - static_cast<double>(k));
}

constexpr std::array kSkin = {Colour{0.98, 0.84, 0.74}, Colour{0.94, 0.74, 0.60},
                              Colour{0.80, 0.58, 0.43}, Colour{0.55, 0.37, 0.26}};
constexpr std::array kHair = {Colour{0.10, 0.08, 0.08}, Colour{0.30, 0.18, 0.11},
                              Colour{0.56, 0.28, 0.12}, Colour{0.80, 0.58, 0.24}};
constexpr std::array kEyes = {Colour{0.25, 0.14, 0.08}, Colour{0.22, 0.42, 0.24},
                              Colour{0.20, 0.44, 0.72}};
constexpr Colour kGrey{0.78, 0.79, 0.82};

// A symmetric outline, from its right half: from the top to the bottom.
std::vector<Point> mirrored(std::vector<Point> right) {
  for (size_t k = right.size() - 2; k > 0; --k) right.push_back({-right[k].x, right[k].y});
  return right;
}

class Portrait {
 public:
  Portrait(const FaceParents& parents, const FaceNoise& noise, int64_t side)
      : is_(parents),
        noise_(noise),
        unit_(static_cast<double>(side) / kFaceSide),
        canvas_(side, side) {
    skin_ = along(kSkin, noise.skin);
    // Dark skin goes with dark hair: beards stand out from faces.
    hair_ = along(kHair, noise.hair * (1 - 0.85 * noise.skin));
    if (!is_.young) {
      skin_ = mix(skin_, {0.86, 0.80, 0.76}, 0.18);
      hair_ = mix(hair_, kGrey, 0.82);
    }
    half_ = 7.4 + noise.width + (is_.male ? 0.3 : 0);
    jaw_ = 4.9 + 0.6 * noise.width + noise.jaw + (is_.male ? 1.1 : 0);
    chin_ = is_.male ? 10.6 : 10.0;
  }

  void draw(std::span<float> image) {
    background();
    turn(0.6, 0.3);
    shoulders();
    turn(1, 1);
    if (!is_.male && !is_.bald) back_hair();
    neck();
    ears();
    head();
    if (is_.bald) bald_head();
    if (!is_.young) wrinkles();
    if (!is_.shaven) beard();
    mouth();
    nose();
    for (const double side : {-1.0, 1.0}) {
      eye(side);
      brow(side);
    }
    if (!is_.bald) top_hair();
    light();
    canvas_.copy_to(image);
  }

 private:
  // How much of the head's shift and tilt what comes next follows.
  void turn(double shift, double tilt) {
    canvas_.set_frame({{unit_ * (16 + shift * noise_.shift_x), unit_ * (14.6 + noise_.shift_y)},
                       tilt * noise_.tilt,
                       unit_ * noise_.scale});
  }

  void background() {
    const Colour deep = from_hsv(noise_.background, 0.22 + 0.22 * noise_.background_depth,
                                 0.88 - 0.32 * noise_.background_depth);
    canvas_.change(
        [&](Colour, Point p) { return mix(deep, kWhite, 0.25 * (1 - p.y / (32 * unit_))); });
  }

  void shoulders() {
    const Colour shirt = from_hsv(noise_.shirt, 0.6, 0.75 - 0.4 * noise_.shirt_depth);
    const double wide = is_.male ? 14.5 : 12;
    canvas_.paint(Ellipse{{0, 20}, wide, 8}, shirt);
    canvas_.paint(Ellipse{{0, 12.4}, 4.4, 2.6}, shaded(times(skin_, 0.88)));
  }

  void neck() {
    const double wide = is_.male ? 4.2 : 3.3;
    canvas_.paint(Stroke({{0, 6}, {0, 12.3}}, 2 * wide), times(skin_, 0.84));
  }

  void ears() {
    for (const double side : {-1.0, 1.0})
      canvas_.paint(Ellipse{{side * (half_ + 0.2), -0.6}, 1.3, 2.1}, times(skin_, 0.92));
  }

  void head() {
    const Blob skull(mirrored({{0, -11},
                               {5.0, -9.6},
                               {half_, -4.2},
                               {half_ - 0.2, 1.5},
                               {jaw_, 6.6},
                               {is_.male ? 3.0 : 2.0, chin_ - 0.8},
                               {0, chin_}}));
    canvas_.paint(skull, shaded(skin_));
    for (const double side : {-1.0, 1.0})
      canvas_.paint(Ellipse{{side * 4.4, 2.6}, 2.4, 1.9}, Colour{0.90, 0.42, 0.38},
                    is_.young ? 0.30 : 0.16, 3 * unit_);
  }

  void bald_head() {
    for (const double side : {-1.0, 1.0})
      canvas_.paint(Stroke({{side * (half_ - 0.1), -4.6}, {side * (half_ + 0.1), -1.6}}, 2.0),
                    hair_);
    canvas_.paint(Ellipse{{3.0 * noise_.light_x, -8.2}, 2.6, 1.2}, kWhite, 0.45, 2 * unit_);
  }

  void wrinkles() {
    const Colour line = times(skin_, 0.62);
    for (const double y : {-7.6, -6.1})
      canvas_.paint(Stroke({{-3.4, y + 0.2}, {0, y - 0.2}, {3.4, y + 0.2}}, 0.5), line, 0.7);
    for (const double side : {-1.0, 1.0}) {
      canvas_.paint(Stroke({{side * 2.2, 2.6}, {side * 3.5, 4.2}, {side * 3.8, 6.2}}, 0.6), line,
                    0.55);
      canvas_.paint(Stroke({{side * 2.2, 0.2}, {side * 3.6, 0.8}, {side * 5.0, 0.2}}, 0.6), line,
                    0.5);
    }
  }

  void beard() {
    const double full = 0.6 + 1.4 * noise_.fullness;
    const Blob shape(mirrored({{0, 3.3},
                               {2.6, 3.9},
                               {4.6, 4.4},
                               {half_ - 1.3, 2.0},
                               {half_ - 0.3, -0.5},
                               {half_ + 0.1, 2.0},
                               {jaw_ + 0.5, 7.0},
                               {3.0, chin_ + full - 0.7},
                               {0, chin_ + full}}));
    canvas_.paint(shape, shaded(times(hair_, 0.82)));
  }

  void mouth() {
    const double wide = (is_.male ? 2.3 : 1.8) + 0.8 * noise_.smile,
                 curve = -0.1 + 1.3 * noise_.smile, y = 6.0;
    const std::vector<Point> line = {
        {-wide, y - 0.5 * curve}, {0, y + 0.5 * curve}, {wide, y - 0.5 * curve}};
    if (is_.male)
      canvas_.paint(Stroke(line, 1.1), mix(skin_, {0.55, 0.18, 0.17}, 0.75));
    else
      canvas_.paint(Stroke(line, 1.5), Colour{0.80, 0.18, 0.26});
  }

  void nose() {
    canvas_.paint(Stroke({{-0.9, 2.5}, {0, 3.0}, {0.9, 2.5}}, 0.8), times(skin_, 0.72));
    canvas_.paint(Ellipse{{0, 1.3}, 0.7, 1.5}, mix(skin_, kWhite, 0.4), 0.5, 1.5 * unit_);
  }

  void eye(double side) {
    const double x = side * 3.5, y = -1.5;
    canvas_.paint(Ellipse{{x, y}, 1.9, is_.male ? 1.15 : 1.4}, kWhite);
    const double look = x + 0.5 * noise_.gaze;
    canvas_.paint(Ellipse{{look, y}, 1.05, 1.15}, along(kEyes, noise_.eyes));
    canvas_.paint(Ellipse{{look, y}, 0.5, 0.5}, Colour{0.05, 0.05, 0.06});
    const Colour lash{0.10, 0.07, 0.07};
    if (is_.male) {
      canvas_.paint(Stroke({{x - 1.9, y - 0.4}, {x, y - 1.3}, {x + 1.9, y - 0.4}}, 0.5), lash, 0.7);
    } else {
      canvas_.paint(Stroke({{x - side * 1.8, y - 0.4},
                            {x, y - 1.5},
                            {x + side * 1.9, y - 0.6},
                            {x + side * 2.7, y - 1.5}},
                           0.9),
                    lash);
    }
  }

  void brow(double side) {
    const double y = -4.3, lift = 0.3 * noise_.brows;
    const Colour colour = mix(hair_, {0.1, 0.07, 0.05}, is_.young ? 0.35 : 0.1);
    if (is_.male)
      canvas_.paint(
          Stroke({{side * 1.5, y + 0.2 - lift}, {side * 3.6, y - 0.3}, {side * 5.7, y + 0.3}}, 1.3),
          colour);
    else
      canvas_.paint(
          Stroke({{side * 1.8, y - lift}, {side * 3.8, y - 0.9}, {side * 5.5, y - 0.1}}, 0.7),
          colour, 0.9);
  }

  void back_hair() {
    const double wide = half_ + 1.6 + noise_.volume, low = 8 + 5 * noise_.length;
    canvas_.paint(Blob({{0, -12.8 - noise_.volume},
                        {6.4, -10.8},
                        {wide, -4},
                        {wide + 0.5, 4},
                        {wide + 0.2, low},
                        {wide - 3.0, low + 1},
                        {0, low - 3},
                        {3.0 - wide, low + 1},
                        {-wide - 0.2, low},
                        {-wide - 0.5, 4},
                        {-wide, -4},
                        {-6.4, -10.8}}),
                  times(hair_, 0.85));
  }

  void top_hair() {
    const double part = 3.5 * noise_.parting, high = -12.6 - noise_.volume;
    const double fringe = -6.2 + 1.6 * noise_.fringe, side_end = is_.male ? -1.5 : 4.5;
    const double out = half_ + (is_.male ? 0.5 : 1.2);
    const std::vector<Point> shape = {{-out, side_end},
                                      {-out - 0.2, -5},
                                      {-5.4, -10.8 - 0.6 * noise_.volume},
                                      {0, high},
                                      {5.4, -10.8 - 0.6 * noise_.volume},
                                      {out + 0.2, -5},
                                      {out, side_end},
                                      {half_ - 0.9, side_end - 1},
                                      {half_ - 1.5, -4.4},
                                      {0.5 * (half_ + part), fringe},
                                      {part, fringe - 1.8},
                                      {0.5 * (part - half_), fringe},
                                      {1.5 - half_, -4.4},
                                      {0.9 - half_, side_end - 1}};
    canvas_.paint(Blob(shape), [&](Point p) {
      return times(hair_, 1 + 0.25 * std::clamp((-7 - p.y) / 5, -1.0, 1.0));
    });
  }

  void light() {
    const double strength = 0.05 + 0.13 * noise_.light_strength;
    canvas_.change([&](Colour c, Point p) {
      return times(c, 1 + strength * (noise_.light_x * p.x + noise_.light_y * p.y) / 12);
    });
  }

  // Round: darker away from the light.
  struct Shaded {
    Colour colour;
    double light_x, light_y;
    Colour operator()(Point p) const {
      return times(colour,
                   1 + 0.10 * (light_x * p.x / 8 + light_y * p.y / 11) - 0.0010 * (p.x * p.x));
    }
  };
  Shaded shaded(Colour c) const { return {c, noise_.light_x, noise_.light_y}; }

  const FaceParents is_;
  const FaceNoise& noise_;
  double unit_;  // pixels of the canvas for one of the small drawing
  Canvas canvas_;
  Colour skin_, hair_;
  double half_, jaw_, chin_;  // half widths at the temples and the jaw; the height of the chin
};

}  // namespace

void render(const FaceParents& parents, const FaceNoise& noise, int64_t side,
            std::span<float> image) {
  Portrait(parents, noise, side).draw(image);
}

}  // namespace diffscm::data
