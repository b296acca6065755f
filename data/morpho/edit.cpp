#include "data/morpho/edit.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/error.h"

namespace diffscm::data::morpho {
namespace {

// A mask with 64 pixels in a word: pixel x is bit x % 64 of word x / 64.
class Bits {
 public:
  explicit Bits(int height, int width)
      : height_(height),
        width_(width),
        words_(static_cast<size_t>((width + 63) / 64)),
        bits_(static_cast<size_t>(height) * words_) {}
  explicit Bits(const Mask& mask, bool inverted = false) : Bits(mask.height, mask.width) {
    for (int y = 0; y < height_; ++y)
      for (int x = 0; x < width_; ++x)
        row(y)[x / 64] |= uint64_t{(mask.row(y)[x] != 0) != inverted} << x % 64;
  }

  // Everything within w columns and h rows of a pixel that is set.
  Bits around(int w, int h) const {
    Bits out = *this;
    out.spread_columns(w);
    out.spread_rows(h);
    return out;
  }
  void add(const Bits& other) {
    for (size_t i = 0; i < bits_.size(); ++i) bits_[i] |= other.bits_[i];
  }
  Mask mask(int scale, bool inverted = false) const {
    Mask out{height_, width_, scale, {}};
    for (int y = 0; y < height_; ++y)
      for (int x = 0; x < width_; ++x)
        out.pixels.push_back((row(y)[x / 64] >> x % 64 & 1) != inverted);
    return out;
  }

 private:
  uint64_t* row(int y) { return bits_.data() + static_cast<size_t>(y) * words_; }
  const uint64_t* row(int y) const { return bits_.data() + static_cast<size_t>(y) * words_; }

  // Steps that double: what is spread by `done` becomes spread by done + step.
  template <typename Spread>
  static void spread(int reach, const Spread& by) {
    for (int done = 0; done < reach;) {
      const int step = std::min(done + 1, reach - done);
      by(step);
      done += step;
    }
  }
  void spread_columns(int reach) {
    for (int y = 0; y < height_; ++y) {
      uint64_t* line = row(y);
      if (std::all_of(line, line + words_, [](uint64_t word) { return word == 0; })) continue;
      spread(reach, [&](int step) { shift_up(line, step); });
      spread(reach, [&](int step) { shift_down(line, step); });
    }
  }
  // line |= line moved to larger x, in place from the far end; then to smaller x.
  void shift_up(uint64_t* line, int step) const {
    const auto far = static_cast<size_t>(step / 64);
    const int near = step % 64;
    for (size_t i = words_; i-- > far;) {
      uint64_t moved = line[i - far] << near;
      if (near > 0 && i > far) moved |= line[i - far - 1] >> (64 - near);
      line[i] |= moved;
    }
  }
  void shift_down(uint64_t* line, int step) const {
    const auto far = static_cast<size_t>(step / 64);
    const int near = step % 64;
    for (size_t i = 0; i + far < words_; ++i) {
      uint64_t moved = line[i + far] >> near;
      if (near > 0 && i + far + 1 < words_) moved |= line[i + far + 1] << (64 - near);
      line[i] |= moved;
    }
  }
  void spread_rows(int reach) {
    const auto merge = [&](int to, int from) {
      for (size_t i = 0; i < words_; ++i) row(to)[i] |= row(from)[i];
    };
    spread(reach, [&](int step) {
      for (int y = height_ - 1; y >= step; --y) merge(y, y - step);
    });
    spread(reach, [&](int step) {
      for (int y = 0; y + step < height_; ++y) merge(y, y + step);
    });
  }

  int height_, width_;
  size_t words_;
  std::vector<uint64_t> bits_;
};

// The brush is a pile of rectangles: its rows become shorter with their distance from the middle.
Bits brushed(const Bits& bits, const std::vector<int>& brush) {
  Bits out = bits;
  for (size_t a = 0; a < brush.size(); ++a)
    if (a + 1 == brush.size() || brush[a + 1] != brush[a])
      out.add(bits.around(brush[a], static_cast<int>(a)));
  return out;
}

// Pixel (x, y) is the one nearest to (from(x, y), y), black outside.
template <class From>
Mask warped(const Mask& mask, const From& from) {
  Mask out = mask;
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x) {
      const double nearest = std::floor(from(x, y) + 0.5);
      out.row(y)[x] = nearest >= 0 && nearest < out.width && mask.row(y)[static_cast<int>(nearest)];
    }
  return out;
}

}  // namespace

std::vector<int> brush(int radius) {
  require(radius >= 0 && radius <= 4096, "a brush of radius {}", radius);
  const auto from_corner = [&](int offset) {
    const int64_t c = static_cast<int64_t>(offset) * (32 * radius + 1) / (2 * radius + 1);
    const int64_t beyond = std::max(c - 21, int64_t{0});
    return beyond * beyond;
  };
  const int64_t limit = int64_t{256} * radius * radius;
  std::vector<int> half;
  for (int a = 0; a <= radius; ++a) {
    int b = radius;
    while (from_corner(a) + from_corner(b) > limit) --b;
    half.push_back(b);
  }
  return half;
}

Mask dilated(const Mask& mask, const std::vector<int>& brush) {
  return brushed(Bits(mask), brush).mask(mask.scale);
}

Mask eroded(const Mask& mask, const std::vector<int>& brush) {
  return brushed(Bits(mask, true), brush).mask(mask.scale, true);
}

Mask with_thickness(const Morphology& digit, double thickness) {
  const double change = thickness - digit.thickness;
  const auto shape = brush(static_cast<int>(digit.stroke.scale * std::abs(change) / 2));
  return change >= 0 ? dilated(digit.stroke, shape) : eroded(digit.stroke, shape);
}

Mask with_slant(const Morphology& digit, double radians) {
  const Moments m = moments_of(digit.stroke);
  const double shear = -std::tan(radians) - m.u11 / m.u02;
  return warped(digit.stroke, [&](int x, int y) { return x - shear * (y - m.y); });
}

Mask with_width(const Morphology& digit, double width) {
  require(width > 0, "a digit cannot be {} wide: give more than 0", width);
  const Moments m = moments_of(digit.stroke);
  const double factor = width_of(digit.hires) / (width * digit.stroke.scale);
  return warped(digit.stroke, [&](int x, int y) {
    const double middle = m.x + m.u11 / m.u02 * (y - m.y);
    return middle + factor * (x - middle);
  });
}

GreyImage with_intensity(const GreyImage& digit, double intensity) {
  const double median = intensity_of(digit);
  GreyImage out = digit;
  if (median == 0) return out;
  for (uint8_t& v : out.pixels)
    v = static_cast<uint8_t>(std::clamp(v * (intensity / median), 0.0, 255.0));
  return out;
}

}  // namespace diffscm::data::morpho
