#include "data/morpho/resample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/error.h"

namespace diffscm::data::morpho {
namespace {

constexpr int kMaxScale = 16;

// Index -1 is pixel 1: the edge is not repeated.
int mirrored(int i, int size) {
  if (size == 1) return 0;
  while (i < 0 || i >= size) i = i < 0 ? -i : 2 * (size - 1) - i;
  return i;
}
// Index -1 is pixel 0: the edge is repeated.
int mirrored_with_edge(int i, int size) {
  while (i < 0 || i >= size) i = i < 0 ? -1 - i : 2 * size - 1 - i;
  return i;
}

// Between f[1] (x = 0) and f[2] (x = 1).
double catmull_rom(double x, double f0, double f1, double f2, double f3) {
  return f1 + 0.5 * x *
                  (f2 - f0 +
                   x * (2.0 * f0 - 5.0 * f1 + 4.0 * f2 - f3 + x * (3.0 * (f1 - f2) + f3 - f0)));
}

// The four pixels that pixel k of the result is made of, and where it lies among them.
struct Taps {
  std::array<int, 4> at;
  double x;
};
Taps taps(int k, double step, int size) {
  const double position = (k + 0.5) * step - 0.5;
  const double left = std::floor(position);
  Taps t{{}, position - left};
  for (int i = 0; i < 4; ++i)
    t.at[static_cast<size_t>(i)] = mirrored(static_cast<int>(left) - 1 + i, size);
  return t;
}

// weight[k] of the pixels k to the left and right; their sum over both sides is 1. Summed as numpy
// sums, in eight columns: the last bit decides whether a full stroke is level 255 or 254.
std::vector<double> gaussian(int scale) {
  const double sigma = 2.0 * scale / 6.0;
  const int radius = static_cast<int>(4 * sigma + 0.5), count = 2 * radius + 1;
  std::vector<double> all, weight;
  for (int k = -radius; k <= radius; ++k) all.push_back(std::exp(-0.5 / (sigma * sigma) * (k * k)));
  std::array<double, 8> r{};
  for (size_t i = 0; i < static_cast<size_t>(count / 8 * 8); ++i) r[i % 8] += all[i];
  double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
  for (size_t i = static_cast<size_t>(count / 8 * 8); i < all.size(); ++i) sum += all[i];
  for (int k = 0; k <= radius; ++k) weight.push_back(all[static_cast<size_t>(radius + k)] / sum);
  return weight;
}

// out[i] = sum over k of weight[|k|] in[i + k], in scipy's order: the outermost pair first. in(k)
// is the line of those neighbours: in(k)[i] stands for in[i + k].
template <typename Lines, typename T>
void weigh(const std::vector<double>& weight, const Lines& in, int count, std::vector<double>& sum,
           T* out) {
  double* s = sum.data();
  const T* centre = in(0);
  for (int i = 0; i < count; ++i) s[i] = centre[i] * weight[0];
  for (int k = static_cast<int>(weight.size()) - 1; k >= 1; --k) {
    const T *before = in(-k), *after = in(k);
    const double w = weight[static_cast<size_t>(k)];
    for (int i = 0; i < count; ++i)
      s[i] += (static_cast<double>(before[i]) + static_cast<double>(after[i])) * w;
  }
  for (int i = 0; i < count; ++i) out[i] = static_cast<T>(s[i]);
}

// The line with `radius` mirrored pixels on either side.
template <typename T>
void pad(const T* line, int size, int radius, std::vector<T>& padded) {
  for (int i = -radius; i < size + radius; ++i)
    padded[static_cast<size_t>(i + radius)] = line[mirrored_with_edge(i, size)];
}

struct Range {
  int begin, end;
};
// Of the enlarged image, what can differ from 0: beyond the reach of interpolation (2 pixels) and
// Gaussian everything is 0.
template <typename IsBlank>
Range reach_of(int size, int scale, int radius, const IsBlank& is_blank) {
  int first = 0, last = size - 1;
  while (first <= last && is_blank(first)) ++first;
  while (last > first && is_blank(last)) --last;
  return {std::clamp((first - 2) * scale - radius, 0, size * scale),
          std::clamp((last + 3) * scale + radius, 0, size * scale)};
}

}  // namespace

GreyImage enlarge(const GreyImage& digit, int scale) {
  require(scale >= 1 && scale <= kMaxScale, "an image enlarged {} times: give 1 to {}", scale,
          kMaxScale);
  require(digit.height >= 1 && digit.width >= 1, "an image of {} x {} pixels", digit.height,
          digit.width);
  if (scale == 1) return digit;
  const std::vector<double> weight = gaussian(scale);
  const int radius = static_cast<int>(weight.size()) - 1;
  GreyImage out{digit.height * scale, digit.width * scale, scale, {}};
  out.pixels.resize(digit.pixels.size() * static_cast<size_t>(scale * scale));
  const Range rows = reach_of(digit.height, scale, radius, [&](int y) {
    return std::all_of(digit.row(y), digit.row(y) + digit.width, [](uint8_t v) { return v == 0; });
  });
  const Range columns = reach_of(digit.width, scale, radius, [&](int x) {
    for (int y = 0; y < digit.height; ++y)
      if (digit.row(y)[x] != 0) return false;
    return true;
  });

  // Interpolated along x, then along y.
  const auto [low, high] = std::ranges::minmax(digit.pixels);
  const double least = low * (1.0 / 255), most = high * (1.0 / 255);
  Image<double> wide{digit.height, out.width, scale, {}}, hires{out.height, out.width, scale, {}};
  wide.pixels.resize(digit.pixels.size() * static_cast<size_t>(scale));
  hires.pixels.resize(out.pixels.size());
  for (int x = columns.begin; x < columns.end; ++x) {
    const Taps t = taps(x, 1.0 / scale, digit.width);
    for (int y = 0; y < digit.height; ++y) {
      const auto value = [&](size_t i) { return digit.row(y)[t.at[i]] * (1.0 / 255); };
      wide.row(y)[x] = catmull_rom(t.x, value(0), value(1), value(2), value(3));
    }
  }
  for (int y = rows.begin; y < rows.end; ++y) {
    const Taps t = taps(y, 1.0 / scale, digit.height);
    const double *f0 = wide.row(t.at[0]), *f1 = wide.row(t.at[1]), *f2 = wide.row(t.at[2]),
                 *f3 = wide.row(t.at[3]);
    double* line = hires.row(y);
    for (int x = columns.begin; x < columns.end; ++x)
      line[x] = std::min(std::max(catmull_rom(t.x, f0[x], f1[x], f2[x], f3[x]), least), most);
  }

  // Smoothed along y, then along x.
  const int count = columns.end - columns.begin;
  std::vector<double> sum(static_cast<size_t>(out.width)), line(sum),
      padded(static_cast<size_t>(out.width + 2 * radius));
  for (int y = rows.begin; y < rows.end; ++y) {
    const auto above = [&](int k) {
      return hires.row(mirrored_with_edge(y + k, out.height)) + columns.begin;
    };
    weigh(weight, above, count, sum, line.data() + columns.begin);
    pad(line.data(), out.width, radius, padded);
    const auto beside = [&](int k) { return padded.data() + radius + columns.begin + k; };
    double* smooth = line.data() + columns.begin;
    weigh(weight, beside, count, sum, smooth);
    for (int i = 0; i < count; ++i)
      out.row(y)[columns.begin + i] = static_cast<uint8_t>(255.0 * smooth[i]);
  }
  return out;
}

// In single precision between the steps, as numpy's float32 keeps it.
GreyImage reduce(const Mask& mask) {
  const int scale = mask.scale;
  require(mask.height % scale == 0 && mask.width % scale == 0 && mask.height > 0 && mask.width > 0,
          "{} x {} pixels cannot be reduced {} times", mask.height, mask.width, scale);
  const std::vector<double> weight = gaussian(scale);
  const int radius = static_cast<int>(weight.size()) - 1;
  GreyImage out{mask.height / scale, mask.width / scale, 1, {}};
  const Image<float> white{
      mask.height, mask.width, scale, {mask.pixels.begin(), mask.pixels.end()}};
  const Range columns = reach_of(mask.width, 1, radius, [&](int x) {
    for (int y = 0; y < mask.height; ++y)
      if (mask.row(y)[x]) return false;
    return true;
  });
  const int count = columns.end - columns.begin;
  std::vector<double> sum(static_cast<size_t>(mask.width));
  std::vector<float> line(static_cast<size_t>(mask.width)), smooth(line),
      padded(static_cast<size_t>(mask.width + 2 * radius));
  const auto smooth_row = [&](int y) {
    const auto above = [&](int k) {
      return white.row(mirrored_with_edge(y + k, mask.height)) + columns.begin;
    };
    weigh(weight, above, count, sum, line.data() + columns.begin);
    pad(line.data(), mask.width, radius, padded);
    const auto beside = [&](int k) { return padded.data() + radius + columns.begin + k; };
    weigh(weight, beside, count, sum, smooth.data() + columns.begin);
  };

  std::vector<float> values(static_cast<size_t>(out.height * out.width));
  float least = std::numeric_limits<float>::infinity(), most = -least;  // of the smoothed mask
  std::array<std::vector<float>, 4> narrow;  // four smoothed rows, interpolated along x
  for (int r = 0; r < out.height; ++r) {
    const Taps rows = taps(r, scale, mask.height);
    for (size_t i = 0; i < 4; ++i) {
      smooth_row(rows.at[i]);
      const auto [low, high] = std::ranges::minmax(smooth);
      least = std::min(least, low);
      most = std::max(most, high);
      narrow[i].resize(static_cast<size_t>(out.width));
      for (int c = 0; c < out.width; ++c) {
        const Taps t = taps(c, scale, mask.width);
        const auto value = [&](size_t k) { return smooth[static_cast<size_t>(t.at[k])]; };
        narrow[i][static_cast<size_t>(c)] = static_cast<float>(
            catmull_rom(static_cast<float>(t.x), value(0), value(1), value(2), value(3)));
      }
    }
    for (size_t c = 0; c < static_cast<size_t>(out.width); ++c)
      values[static_cast<size_t>(r * out.width) + c] = static_cast<float>(catmull_rom(
          static_cast<float>(rows.x), narrow[0][c], narrow[1][c], narrow[2][c], narrow[3][c]));
  }
  // Interpolation must not leave the range of the smoothed mask. Its other rows are asked only if
  // something may have: nothing is below 0, nothing above what a mask that is all set becomes.
  const auto [lowest, highest] = std::ranges::minmax(values);
  const auto flat = [&](float level) {
    double total = level * weight[0];
    for (size_t k = weight.size() - 1; k >= 1; --k) total += 2.0 * level * weight[k];
    return static_cast<float>(total);
  };
  const float full = flat(flat(1));
  const bool may_leave = (lowest < least && least > 0) || (highest > most && most < full);
  for (int y = 0; y < mask.height && may_leave; ++y) {
    smooth_row(y);
    const auto [low, high] = std::ranges::minmax(smooth);
    least = std::min(least, low);
    most = std::max(most, high);
  }
  for (const float v : values)
    out.pixels.push_back(static_cast<uint8_t>(255.0f * std::clamp(v, least, most)));
  return out;
}

}  // namespace diffscm::data::morpho
