#include "data/digits.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "data/draws.h"
#include "data/glyphs.h"
#include "data/mnist.h"
#include "data/rendered.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

using std::numbers::pi;

constexpr int kClasses = 10;

// The plain hand: height of the unit box in pixels, and how much wider than high.
constexpr double kHeight = 17.5, kWidth = 1.08;

// Spread of the style.
constexpr double kSlantMean = 0.12, kSlantSpread = 0.20;
constexpr double kWidthSpread = 0.13, kHeightSpread = 0.06, kSizeLimit = 0.30;
constexpr double kRotationSpread = 0.07, kRotationLimit = 0.25;
constexpr double kShiftSpread = 0.7, kShiftLimit = 2.0;
constexpr double kPressureSpread = 0.12, kPressureLimit = 0.3;
constexpr double kBendSpread = 0.030, kBendLimit = 0.08;
constexpr double kJitterSpread = 0.018, kJitterLimit = 0.05;

double intensity_of(double thickness, double u_intensity) {
  const double logit = 0.5 * u_intensity + 2 * thickness - 5;
  return (96 + 159 / (1 + std::exp(-logit))) / 255;
}

struct Point {
  double x, y;
};

// From the unit box of the glyphs to pixels.
Point place(const DigitNoise& noise, double slant, StrokePoint point, int k) {
  double x = point.x - 0.5 + noise.jitter[static_cast<size_t>(2 * k)];
  double y = point.y - 0.5 + noise.jitter[static_cast<size_t>(2 * k + 1)];
  const auto wave = [&](int i, double along) {
    const auto at = static_cast<size_t>(2 * i);
    return noise.bend[at] * std::sin(pi * (1 + i / 2) * along + noise.bend[at + 1]);
  };
  const double bent_x = x + wave(0, y) + wave(2, y), bent_y = y + wave(1, x) + wave(3, x);
  x = kHeight * kWidth * std::exp(noise.log_width) * bent_x;
  y = kHeight * std::exp(noise.log_height) * bent_y;
  x -= slant * y;
  const double c = std::cos(noise.rotation), s = std::sin(noise.rotation);
  constexpr double kCentre = kDigitSide / 2.0;
  return {kCentre + noise.shift_x + c * x - s * y, kCentre + noise.shift_y + s * x + c * y};
}

// Coverage of the pixels by ink: the largest over the segments drawn, each a capsule with an edge
// one pixel soft.
class Sheet {
 public:
  void segment(Point a, Point b, double width) {
    const double radius = width / 2, reach = radius + 0.5;
    const int left = first(std::min(a.x, b.x) - reach), right = last(std::max(a.x, b.x) + reach);
    const int top = first(std::min(a.y, b.y) - reach), bottom = last(std::max(a.y, b.y) + reach);
    const double dx = b.x - a.x, dy = b.y - a.y;
    const double per_length = 1 / std::max(dx * dx + dy * dy, 1e-12);
    const double most = std::min(1.0, width);  // a pen thinner than a pixel never covers one
    for (int row = top; row <= bottom; ++row) {
      double* ink = &ink_[static_cast<size_t>(row * kDigitSide)];
      const double py = row + 0.5 - a.y;
      for (int column = left; column <= right; ++column) {
        const double px = column + 0.5 - a.x;
        const double t = std::clamp((px * dx + py * dy) * per_length, 0.0, 1.0);
        const double ex = px - t * dx, ey = py - t * dy, squared = ex * ex + ey * ey;
        if (squared < reach * reach)
          ink[column] = std::max(ink[column], std::min(reach - std::sqrt(squared), most));
      }
    }
  }
  double ink(int64_t pixel) const { return ink_[static_cast<size_t>(pixel)]; }

 private:
  // Clamped before the cast: a stroke may leave the sheet.
  static int first(double x) { return static_cast<int>(std::clamp(x - 0.5, 0.0, 1.0 * kLast)); }
  static int last(double x) { return static_cast<int>(std::clamp(x + 0.5, 0.0, 1.0 * kLast)); }
  static constexpr int kLast = kDigitSide - 1;
  std::array<double, kDigitPixels> ink_{};
};

// Catmull-Rom: the curve between b and c whose tangents follow their neighbours.
Point spline(Point a, Point b, Point c, Point d, double t) {
  const auto blend = [t](double p, double q, double r, double s) {
    return 0.5 *
           (2 * q + t * (r - p + t * (2 * p - 5 * q + 4 * r - s + t * (3 * (q - r) + s - p))));
  };
  return {blend(a.x, b.x, c.x, d.x), blend(a.y, b.y, c.y, d.y)};
}

// `first_point` numbers the stroke's points within the glyph, for their jitter.
void draw_stroke(Sheet& sheet, const Stroke& stroke, const DigitNoise& noise,
                 const DigitParents& parents, int first_point) {
  const int count = static_cast<int>(stroke.points.size());
  std::array<Point, kMaxGlyphPoints> points;
  for (int k = 0; k < count; ++k)
    points[static_cast<size_t>(k)] =
        place(noise, parents.slant, stroke.points[static_cast<size_t>(k)], first_point + k);
  const auto at = [&](int k) { return points[static_cast<size_t>((k + count) % count)]; };
  // The neighbour that shapes the tangent: an end or corner ends the smooth curve.
  const auto neighbour = [&](int k, int step) {
    const bool end = !stroke.closed && (k + step < 0 || k + step >= count);
    return end || stroke.points[static_cast<size_t>((k + count) % count)].corner ? at(k)
                                                                                 : at(k + step);
  };
  const int curves = stroke.closed ? count : count - 1;
  constexpr int kSteps = 5;  // segments per curve: each about a pixel long
  for (int k = 0; k < curves; ++k) {
    const int next = (k + 1) % count;
    Point from = at(k);
    for (int i = 1; i <= kSteps; ++i) {
      const double t = static_cast<double>(i) / kSteps;
      const Point to = spline(neighbour(k, -1), at(k), at(next), neighbour(next, 1), t);
      // A loop must meet itself with the width it began with: whole periods only.
      const double along = (k + t) / curves;
      const double swing = noise.pressure * std::sin(2 * pi * (along + noise.pressure_phase));
      sheet.segment(from, to, parents.thickness * (1 + swing));
      from = to;
    }
  }
}

int64_t size_of(Split split) {
  return split == Split::train ? kDigitsTrain : kDigitsTest;
}

std::array<Attribute, 4> digits_attributes() {
  return {numbered_category("digit", kClasses),
          Attribute{.name = "slant", .low = -kMaxSlant, .high = kMaxSlant},
          Attribute{.name = "thickness", .low = kMinThickness, .high = kMaxThickness},
          Attribute{.name = "intensity", .low = 0, .high = 1}};
}

Assignment assignment(const DigitParents& p) {
  return {{"digit", p.digit},
          {"slant", p.slant},
          {"thickness", p.thickness},
          {"intensity", p.intensity}};
}

class DigitsWorld : public World {
 public:
  DigitsWorld(Split split, uint64_t seed) : split_(split), seed_(seed) {}

  Assignment attributes(int64_t i, const Assignment& set) const override {
    return assignment(counterfactual(noise_of(i), intervention(set)));
  }
  std::vector<float> image(int64_t i, const Assignment& set) const override {
    const DigitNoise noise = noise_of(i);
    return render(counterfactual(noise, intervention(set)), noise);
  }
  Assignment style(int64_t i) const override {
    const DigitNoise noise = noise_of(i);
    return {{"log_width", noise.log_width}, {"log_height", noise.log_height},
            {"rotation", noise.rotation},   {"shift_x", noise.shift_x},
            {"shift_y", noise.shift_y},     {"pressure", noise.pressure}};
  }
  Assignment measure(int64_t i, std::span<const float> image) const override {
    return assignment(measure_digit(noise_of(i), image));
  }

 private:
  DigitNoise noise_of(int64_t i) const {
    require_image("digits", split_, i, size_of(split_));
    return sample_noise(seed_, world_index(split_, i));
  }
  static DigitIntervention intervention(const Assignment& set) {
    const auto known = digits_attributes();
    DigitIntervention out;
    for (const auto& [name, value] : set) {
      const Attribute& attribute = find_attribute(known, name);
      attribute.check(value);
      if (attribute.name == "digit") out.digit = static_cast<int>(value);
      if (attribute.name == "slant") out.slant = value;
      if (attribute.name == "thickness") out.thickness = value;
      if (attribute.name == "intensity") out.intensity = value;
    }
    return out;
  }

  Split split_;
  uint64_t seed_;
};

}  // namespace

DigitNoise sample_noise(uint64_t seed, uint64_t index) {
  Draws draws(seed, index);
  DigitNoise noise;
  noise.u_digit = draws.uniform();
  // Gamma(10, 4) is the sum of ten exponentials of rate 4.
  for (int i = 0; i < 10; ++i) noise.u_thickness -= std::log(draws.uniform()) / 4;
  noise.u_thickness = std::min(noise.u_thickness, kMaxThickness - kMinThickness);
  noise.u_intensity = draws.normal();
  noise.u_slant = std::clamp(kSlantMean + kSlantSpread * draws.normal(), -kMaxSlant, kMaxSlant);
  noise.log_width = draws.normal(kWidthSpread, kSizeLimit);
  noise.log_height = draws.normal(kHeightSpread, kSizeLimit / 2);
  noise.rotation = draws.normal(kRotationSpread, kRotationLimit);
  noise.shift_x = draws.normal(kShiftSpread, kShiftLimit);
  noise.shift_y = draws.normal(kShiftSpread, kShiftLimit);
  noise.hand = draws.uniform();
  noise.pressure = draws.normal(kPressureSpread, kPressureLimit);
  noise.pressure_phase = draws.uniform();
  for (size_t i = 0; i < noise.bend.size(); i += 2) {
    noise.bend[i] = draws.normal(kBendSpread, kBendLimit);
    noise.bend[i + 1] = 2 * pi * draws.uniform();
  }
  for (double& j : noise.jitter) j = draws.normal(kJitterSpread, kJitterLimit);
  return noise;
}

DigitParents factual_parents(const DigitNoise& noise) {
  return counterfactual(noise, {});
}

DigitParents counterfactual(const DigitNoise& noise, const DigitIntervention& intervention) {
  DigitParents parents;
  parents.digit = intervention.digit.value_or(
      std::min(static_cast<int>(kClasses * noise.u_digit), kClasses - 1));
  require(parents.digit >= 0 && parents.digit < kClasses, "do(digit = {}) is outside 0 to 9",
          parents.digit);
  parents.thickness = intervention.thickness.value_or(kMinThickness + noise.u_thickness);
  require(parents.thickness >= kMinThickness && parents.thickness <= kMaxThickness,
          "do(thickness = {}) is outside {} to {} pixels", parents.thickness, kMinThickness,
          kMaxThickness);
  parents.intensity =
      intervention.intensity.value_or(intensity_of(parents.thickness, noise.u_intensity));
  require(parents.intensity >= 0 && parents.intensity <= 1, "do(intensity = {}) is outside 0 to 1",
          parents.intensity);
  parents.slant = intervention.slant.value_or(noise.u_slant);
  require(parents.slant >= -kMaxSlant && parents.slant <= kMaxSlant,
          "do(slant = {}) is outside {} to {}", parents.slant, -kMaxSlant, kMaxSlant);
  return parents;
}

void render(const DigitParents& parents, const DigitNoise& noise, std::span<float> image) {
  require(image.size() == kDigitPixels, "a digit has {} pixels, not {}", kDigitPixels,
          image.size());
  Sheet sheet;
  int point = 0;
  for (const Stroke& stroke : glyph(parents.digit, noise.hand)) {
    draw_stroke(sheet, stroke, noise, parents, point);
    point += static_cast<int>(stroke.points.size());
  }
  for (int64_t i = 0; i < kDigitPixels; ++i)
    image[static_cast<size_t>(i)] = static_cast<float>(2 * parents.intensity * sheet.ink(i) - 1);
}

std::vector<float> render(const DigitParents& parents, const DigitNoise& noise) {
  std::vector<float> image(kDigitPixels);
  render(parents, noise, image);
  return image;
}

Dataset load_digits(Split split, uint64_t seed) {
  Dataset set = render_dataset("digits", {kDigitSide, kDigitSide, 1}, size_of(split),
                               digits_attributes(), [&](int64_t i, std::span<float> image) {
                                 const DigitNoise noise = sample_noise(seed, world_index(split, i));
                                 const DigitParents parents = factual_parents(noise);
                                 render(parents, noise, image);
                                 return assignment(parents);
                               });
  set.plausible = plausible_digits();
  set.world = std::make_shared<DigitsWorld>(split, seed);
  return set;
}

}  // namespace diffscm::data
