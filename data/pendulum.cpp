#include "data/pendulum.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "data/drawing/canvas.h"
#include "data/draws.h"
#include "data/rendered.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

using namespace drawing;

constexpr double kLowPendulum = -40, kHighPendulum = 40, kLowLight = 55, kHighLight = 125;
constexpr double kShadowNoise = 0.2;
constexpr double kPivotX = 10, kPivotY = 10.5, kLength = 8, kReach = 9.5;
constexpr double kSunY = 20.5, kGroundY = -0.5;

// What is seen: 24 x 24 units.
constexpr double kLeft = -2, kTop = 22.25, kPixelsPerUnit = kPendulumSide / 24.0;
// The rows in which only the sun, only the pendulum and only the shadow change.
struct Rows {
  int64_t first, last;
};
constexpr Rows kSunRows{0, 10}, kPendulumRows{11, 28}, kShadowRows{29, 31};

double radians(double degrees) {
  return degrees * std::numbers::pi / 180;
}

// Heights grow upwards, rows downwards.
Point at(double x, double y) {
  return {x, -y};
}

constexpr double kShadowWidth = 1.1;
constexpr Colour kShadow{0.16, 0.13, 0.12}, kGround{0.87, 0.78, 0.60}, kSun{1.0, 0.72, 0.15},
    kRod{0.12, 0.12, 0.14};

void draw(const PendulumParents& p, const PendulumNoise& noise, Canvas& canvas) {
  canvas.set_frame({{-kLeft * kPixelsPerUnit, kTop * kPixelsPerUnit}, 0, kPixelsPerUnit});
  const Colour sky = from_hsv(0.52 + 0.12 * noise.sky, 0.18 + 0.2 * noise.sky, 0.97);
  canvas.change([&](Colour, Point q) { return mix(sky, {1, 1, 1}, 0.5 * (q.y + kTop) / 24); });
  canvas.paint(Ellipse{at(10, -21), 200, 21.6}, kGround);

  const double half = std::max(p.shadow_length - kShadowWidth, 0.0) / 2;
  canvas.paint(
      Stroke({at(p.shadow_position - half, kGroundY), at(p.shadow_position + half, kGroundY)},
             kShadowWidth),
      kShadow);

  const double sun = kPivotX + (kSunY - kPivotY) / std::tan(radians(p.light));
  canvas.paint(Ellipse{at(sun, kSunY), 3.9, 3.9}, kSun, 0.25, 2.5);
  canvas.paint(Ellipse{at(sun, kSunY), 3, 3}, kSun);

  const double s = std::sin(radians(p.pendulum)), c = std::cos(radians(p.pendulum));
  const Point ball = at(kPivotX + kLength * s, kPivotY - kLength * c);
  canvas.paint(Stroke({at(kPivotX, kPivotY), ball}, 0.7), kRod);
  canvas.paint(Ellipse{at(kPivotX, kPivotY), 0.6, 0.6}, kRod);
  canvas.paint(Ellipse{ball, 1.5, 1.5}, from_hsv(noise.ball, 0.75, 0.75));
}

int64_t size_of(Split split) {
  return split == Split::train ? kPendulumTrain : kPendulumTest;
}

Assignment assignment(const PendulumParents& p) {
  return {{"pendulum", p.pendulum},
          {"light", p.light},
          {"shadow_length", p.shadow_length},
          {"shadow_position", p.shadow_position}};
}

// The least of f over [low, high]: the best of a grid, then golden section beside it.
template <class F>
double minimise(double low, double high, const F& f) {
  constexpr int kGrid = 32, kRounds = 16;
  const double step = (high - low) / kGrid;
  double best = low, least = f(low);
  for (int k = 1; k <= kGrid; ++k)
    if (const double value = f(low + k * step); value < least) {
      least = value;
      best = low + k * step;
    }
  double a = std::max(low, best - step), b = std::min(high, best + step);
  constexpr double kGolden = std::numbers::phi - 1;
  double left = b - kGolden * (b - a), right = a + kGolden * (b - a);
  double at_left = f(left), at_right = f(right);
  for (int k = 0; k < kRounds; ++k)
    if (at_left < at_right) {
      b = right;
      right = left;
      at_right = at_left;
      left = b - kGolden * (b - a);
      at_left = f(left);
    } else {
      a = left;
      left = right;
      at_left = at_right;
      right = a + kGolden * (b - a);
      at_right = f(right);
    }
  return (a + b) / 2;
}

class PendulumWorld : public World {
 public:
  PendulumWorld(Split split, uint64_t seed) : split_(split), seed_(seed) {}

  Assignment attributes(int64_t i, const Assignment& set) const override {
    return assignment(pendulum_parents(noise_of(i), set));
  }
  std::vector<float> image(int64_t i, const Assignment& set) const override {
    const PendulumNoise noise = noise_of(i);
    std::vector<float> image(kPendulumPixels);
    render(pendulum_parents(noise, set), noise, image);
    return image;
  }
  Assignment style(int64_t i) const override { return {{"sky", noise_of(i).sky}}; }
  Assignment measure(int64_t i, std::span<const float> image) const override {
    return assignment(measure_pendulum(noise_of(i), image));
  }

 private:
  PendulumNoise noise_of(int64_t i) const {
    require_image("pendulum", split_, i, size_of(split_));
    return sample_pendulum_noise(seed_, world_index(split_, i));
  }

  Split split_;
  uint64_t seed_;
};

}  // namespace

std::array<Attribute, 4> pendulum_attributes() {
  return {Attribute{.name = "pendulum", .low = kLowPendulum, .high = kHighPendulum},
          Attribute{.name = "light", .low = kLowLight, .high = kHighLight},
          Attribute{.name = "shadow_length", .low = 1, .high = 13},
          Attribute{.name = "shadow_position", .low = -1, .high = 21}};
}

PendulumNoise sample_pendulum_noise(uint64_t seed, uint64_t index) {
  Draws draws(seed, index);
  PendulumNoise noise;
  noise.u_pendulum = draws.uniform();
  noise.u_light = draws.uniform();
  noise.u_length = kShadowNoise * draws.normal();
  noise.u_position = kShadowNoise * draws.normal();
  noise.ball = draws.uniform();
  noise.sky = draws.uniform();
  return noise;
}

PendulumParents pendulum_parents(const PendulumNoise& noise, const Assignment& set) {
  static const auto known = pendulum_attributes();
  Assignment given;
  for (const auto& [name, value] : set) {
    const Attribute& attribute = find_attribute(known, name);
    attribute.check(value);
    given[attribute.name] = value;
  }
  const auto value = [&](const char* name, double natural) {
    const auto found = given.find(name);
    return found == given.end() ? natural : found->second;
  };
  PendulumParents p;
  p.pendulum = value("pendulum", kLowPendulum + (kHighPendulum - kLowPendulum) * noise.u_pendulum);
  p.light = value("light", kLowLight + (kHighLight - kLowLight) * noise.u_light);
  // Where a ray through a point meets the ground: the pivot's, and the end's of the pendulum.
  const double s = std::sin(radians(p.pendulum)), c = std::cos(radians(p.pendulum));
  const auto shadow_of = [&](double x, double y) {
    return x - (y - kGroundY) / std::tan(radians(p.light));
  };
  const double pivot = shadow_of(kPivotX, kPivotY);
  const double end = shadow_of(kPivotX + kReach * s, kPivotY - kReach * c);
  p.shadow_length = value("shadow_length", std::max(3.0, std::abs(pivot - end)) + noise.u_length);
  p.shadow_position = value("shadow_position", (pivot + end) / 2 + noise.u_position);
  return p;
}

void render(const PendulumParents& parents, const PendulumNoise& noise, std::span<float> image) {
  Canvas canvas(kPendulumSide, kPendulumSide);
  draw(parents, noise, canvas);
  canvas.copy_to(image);
}

PendulumParents measure_pendulum(const PendulumNoise& noise, std::span<const float> image) {
  require(std::ssize(image) == kPendulumPixels, "a pendulum image has {} values, not {}",
          kPendulumPixels, image.size());
  std::vector<float> candidate(kPendulumPixels);
  PendulumParents p;
  const auto fit = [&](double PendulumParents::*member, Rows rows, double low, double high) {
    p.*member = minimise(low, high, [&](double value) {
      PendulumParents other = p;
      other.*member = value;
      render(other, noise, candidate);
      double distance = 0;
      const auto begin = static_cast<size_t>(rows.first * kPendulumSide * 3);
      const auto end = static_cast<size_t>((rows.last + 1) * kPendulumSide * 3);
      for (size_t i = begin; i < end; ++i) {
        const double d = candidate[i] - image[i];
        distance += d * d;
      }
      return distance;
    });
  };
  fit(&PendulumParents::pendulum, kPendulumRows, kLowPendulum, kHighPendulum);
  fit(&PendulumParents::light, kSunRows, kLowLight, kHighLight);
  // A short shadow finds a place within the long one; then both in turn.
  const auto known = pendulum_attributes();
  fit(&PendulumParents::shadow_position, kShadowRows, known[3].low, known[3].high);
  for (int round = 0; round < 4; ++round) {
    const double before = p.shadow_position;
    fit(&PendulumParents::shadow_length, kShadowRows, known[2].low, known[2].high);
    fit(&PendulumParents::shadow_position, kShadowRows, known[3].low, known[3].high);
    if (std::abs(p.shadow_position - before) < 0.001) break;
  }
  return p;
}

Dataset load_pendulum(Split split, uint64_t seed) {
  Dataset set = render_dataset("pendulum", {kPendulumSide, kPendulumSide, 3}, size_of(split),
                               pendulum_attributes(), [&](int64_t i, std::span<float> image) {
                                 const PendulumNoise noise =
                                     sample_pendulum_noise(seed, world_index(split, i));
                                 const PendulumParents parents = pendulum_parents(noise);
                                 render(parents, noise, image);
                                 return assignment(parents);
                               });
  set.world = std::make_shared<PendulumWorld>(split, seed);
  return set;
}

}  // namespace diffscm::data
