// Reading the attributes off a digit: analysis by synthesis.
#include <algorithm>
#include <cmath>
#include <vector>

#include "data/digits.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

constexpr int kStates = 10;
// The coarse search, and how many of the digits that it finds are searched finely.
constexpr double kSlants[] = {-0.45, -0.3, -0.15, 0, 0.15, 0.3, 0.45};
constexpr double kThicknesses[] = {0.7, 1.2, 1.8, 2.5, 3.3, 4.3, 5.6, 7};
constexpr size_t kCandidates = 3;
constexpr double kFinest = 1e-3;

struct Fit {
  DigitParents parents;
  double error = 0;  // squared, of values from 0 to 1
};

// The intensity that fits best is known: the picture is it times the ink.
Fit fit(const DigitNoise& noise, std::span<const float> image, int digit, double slant,
        double thickness) {
  Fit f{{digit, thickness, 1, slant}};
  const std::vector<float> full = render(f.parents, noise);
  double both = 0, ink_squared = 0, value_squared = 0;
  for (size_t i = 0; i < image.size(); ++i) {
    const double ink = (full[i] + 1) / 2, value = (image[i] + 1) / 2;
    both += ink * value;
    ink_squared += ink * ink;
    value_squared += value * value;
  }
  const double intensity = ink_squared > 0 ? std::clamp(both / ink_squared, 0.0, 1.0) : 0;
  f.parents.intensity = intensity;
  f.error = value_squared - 2 * intensity * both + intensity * intensity * ink_squared;
  return f;
}

// From neighbour to better neighbour, in steps that halve.
Fit refined(const DigitNoise& noise, std::span<const float> image, Fit best) {
  double slant_step = 0.075, thickness_step = 0.4;
  while (thickness_step > kFinest) {
    bool better = false;
    for (const auto& [across, along] : {std::pair(1, 0), {-1, 0}, {0, 1}, {0, -1}}) {
      const double slant =
          std::clamp(best.parents.slant + across * slant_step, -kMaxSlant, kMaxSlant);
      const double thickness =
          std::clamp(best.parents.thickness + along * thickness_step, kMinThickness, kMaxThickness);
      const Fit next = fit(noise, image, best.parents.digit, slant, thickness);
      if (next.error < best.error) {
        best = next;
        better = true;
      }
    }
    if (better) continue;
    slant_step /= 2;
    thickness_step /= 2;
  }
  return best;
}

}  // namespace

DigitParents measure_digit(const DigitNoise& noise, std::span<const float> image) {
  require(image.size() == kDigitPixels, "a digit has {} pixels, not {}", kDigitPixels,
          image.size());
  std::vector<Fit> found;
  for (int digit = 0; digit < kStates; ++digit) {
    Fit best{{}, INFINITY};
    for (const double slant : kSlants)
      for (const double thickness : kThicknesses)
        if (const Fit f = fit(noise, image, digit, slant, thickness); f.error < best.error)
          best = f;
    found.push_back(best);
  }
  const auto by_error = [](const Fit& a, const Fit& b) { return a.error < b.error; };
  std::ranges::sort(found, by_error);
  found.resize(kCandidates);
  for (Fit& f : found) f = refined(noise, image, f);
  return std::ranges::min_element(found, by_error)->parents;
}

}  // namespace diffscm::data
