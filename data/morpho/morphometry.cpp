#include "data/morpho/morphometry.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "data/morpho/medial_axis.h"
#include "kernels/error.h"

namespace diffscm::data::morpho {
namespace {

// What remains outside a bounding box, of the sum of all levels.
constexpr double kOutside = 0.02;

// Whether a level belongs to the upper half of the range.
Mask upper_half(const GreyImage& image) {
  const auto [low, high] = std::ranges::minmax(image.pixels);
  const double threshold = low + (high - low) * 0.5;
  Mask mask{image.height, image.width, image.scale, {}};
  mask.pixels.reserve(image.pixels.size());
  const auto first = static_cast<uint8_t>(std::ceil(threshold));
  for (const uint8_t v : image.pixels) mask.pixels.push_back(v >= first);
  return mask;
}

// Where the piecewise linear function through (position, cumulative) takes that value;
// `cumulative` does not fall. As numpy.interp(value, cumulative, positions).
double where(double value, const std::vector<double>& cumulative) {
  const auto next = std::ranges::upper_bound(cumulative, value);
  if (next == cumulative.begin()) return 0;
  const auto i = static_cast<double>(next - cumulative.begin() - 1);
  if (next == cumulative.end()) return i;
  return i + (value - next[-1]) / (next[0] - next[-1]);
}

// Sum over pixels of level * (position < t) for t = 0, 1, ..., as a part of the whole.
template <typename Position>
std::vector<double> cumulative(const GreyImage& image, int size, const Position& position) {
  std::vector<double> count(static_cast<size_t>(size) + 1);
  double sum = 0;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      const double level = image.row(y)[x];
      sum += level;
      // The first t that exceeds the position.
      const double first = std::floor(position(x, y)) + 1;
      count[static_cast<size_t>(std::clamp(first, 0.0, static_cast<double>(size)))] += level;
    }
  count.pop_back();
  double so_far = 0;
  for (double& c : count) c = (so_far += c) / sum;
  return count;
}

// Between which columns the image lies along its slant, at the height of its centre.
std::pair<double, double> sides(const GreyImage& image, const Moments& moments) {
  const double shear = moments.u11 / moments.u02;
  const auto horizontal = cumulative(
      image, image.width, [&](int x, int y) { return x + 0.5 - shear * (y - moments.y); });
  return {where(kOutside / 2, horizontal), where(1 - kOutside / 2, horizontal)};
}

// Each pair of neighbours once: to the right and down 1, diagonally sqrt 2. Every fourth pixel adds
// to the same sum, as in numpy's einsum: the last printed digit depends on it.
double length_of(const Mask& skeleton) {
  const auto set = [&](int y, int x) {
    return y < skeleton.height && x >= 0 && x < skeleton.width && skeleton.row(y)[x];
  };
  std::array<double, 4> sum{};
  for (int y = 0; y < skeleton.height; ++y)
    for (int x = 0; x < skeleton.width; ++x)
      if (skeleton.row(y)[x])
        sum[static_cast<size_t>(y * skeleton.width + x) % 4] +=
            set(y, x + 1) + std::sqrt(2.0) * set(y + 1, x - 1) + set(y + 1, x) +
            std::sqrt(2.0) * set(y + 1, x + 1);
  return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

}  // namespace

std::optional<Morphology> analyse(const GreyImage& digit, int scale) {
  const auto flat = [](const GreyImage& image) {
    const auto [low, high] = std::ranges::minmax(image.pixels);
    return low == high;
  };
  if (flat(digit)) return {};
  Morphology m;
  m.hires = enlarge(digit, scale);
  if (flat(m.hires)) return {};
  m.stroke = upper_half(m.hires);
  const std::vector<int> squared = squared_distances(m.stroke);
  m.skeleton = medial_axis(m.stroke, squared);
  double sum = 0;
  int64_t count = 0;
  for (size_t i = 0; i < squared.size(); ++i) {
    if (!m.skeleton.pixels[i]) continue;
    sum += std::sqrt(static_cast<double>(squared[i]));
    ++count;
  }
  m.thickness = 2 * (sum / static_cast<double>(count)) / scale;
  return m;
}

Moments moments_of(const GreyImage& image) {
  double m00 = 0, m10 = 0, m01 = 0, m20 = 0, m11 = 0, m02 = 0;  // exact: sums of whole numbers
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      const double level = image.row(y)[x];
      m00 += level;
      m10 += level * x;
      m01 += level * y;
      m20 += level * x * x;
      m11 += level * x * y;
      m02 += level * y * y;
    }
  Moments m{m10 / m00, m01 / m00};
  m.u20 = m20 / m00 - m.x * m.x;
  m.u11 = m11 / m00 - m.x * m.y;
  m.u02 = m02 / m00 - m.y * m.y;
  return m;
}

std::optional<Morphometrics> measure(const GreyImage& digit, int scale) {
  const std::optional<Morphology> m = analyse(digit, scale);
  if (!m) return {};
  Morphometrics out;
  out.area = static_cast<double>(std::ranges::count(m->stroke.pixels, 1)) / (scale * scale);
  out.length = length_of(m->skeleton) / scale;
  out.thickness = m->thickness;
  const Moments moments = moments_of(m->hires);
  const double shear = moments.u11 / moments.u02;
  out.slant = std::atan(-shear);
  const auto [left, right] = sides(m->hires, moments);
  const auto vertical = cumulative(m->hires, m->hires.height, [](int, int y) { return y; });
  const double top = where(kOutside / 2, vertical), bottom = where(1 - kOutside / 2, vertical);
  // Between the upper corners of the parallelogram.
  const double lean = shear * (top - moments.y);
  out.width = ((right + lean) - (left + lean)) / scale;
  out.height = (bottom - top) / scale;
  return out;
}

double width_of(const GreyImage& image) {
  const auto [left, right] = sides(image, moments_of(image));
  return right - left;
}

double intensity_of(const GreyImage& digit) {
  const Mask mask = upper_half(digit);
  std::vector<uint8_t> levels;
  for (size_t i = 0; i < digit.pixels.size(); ++i)
    if (mask.pixels[i]) levels.push_back(digit.pixels[i]);
  require(!levels.empty(), "an image without pixels has no intensity");
  std::ranges::sort(levels);
  const size_t half = levels.size() / 2;
  return levels.size() % 2 ? levels[half] : (levels[half - 1] + levels[half]) / 2.0;
}

}  // namespace diffscm::data::morpho
