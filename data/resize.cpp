#include "data/resize.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"

namespace diffscm::data {
namespace {

constexpr int kBits = 22;  // of the weights' fixed point

// How far a filter reaches, and its value there, on the scale of the wider of the two pixels.
double reach(Filter filter) {
  return filter == Filter::box ? 0.5 : filter == Filter::bilinear ? 1 : 2;
}

double value(Filter filter, double x) {
  if (filter == Filter::box) return x > -0.5 && x <= 0.5 ? 1 : 0;
  x = std::abs(x);
  if (filter == Filter::bilinear) return std::max(0.0, 1 - x);
  constexpr double a = -0.5;  // Keys 1981
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

// A piece of the resized picture along one axis: `count` pixels from `first`, of `to` in all.
struct Piece {
  int64_t to = 0, first = 0, count = 0;
};

struct Window {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

// What each pixel of the piece is made of, from `from` pixels.
std::vector<Window> windows(int64_t from, const Piece& piece, Filter filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(piece.to);
  const double wide = std::max(scale, 1.0), support = reach(filter) * wide;
  std::vector<Window> all;
  for (int64_t i = piece.first; i < piece.first + piece.count; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto edge = [&](double at) {
      return std::clamp(static_cast<int64_t>(at + 0.5), int64_t{0}, from);
    };
    Window window{edge(centre - support), {}};
    std::vector<double> weights;
    double sum = 0;
    for (int64_t k = window.first; k < edge(centre + support); ++k) {
      weights.push_back(value(filter, (static_cast<double>(k) - centre + 0.5) * (1 / wide)));
      sum += weights.back();
    }
    for (const double weight : weights) {
      const double part = weight / sum * (1 << kBits);
      window.weights.push_back(static_cast<int32_t>(part < 0 ? part - 0.5 : part + 0.5));
    }
    all.push_back(std::move(window));
  }
  return all;
}

constexpr int32_t kHalf = 1 << (kBits - 1);

uint8_t level(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kBits, 0, 255));
}

// Rows top to bottom of the picture, their pixels those of the windows.
io::Picture across(const io::Picture& in, int64_t top, int64_t bottom,
                   const std::vector<Window>& windows) {
  const int64_t c = in.channels;
  io::Picture out{bottom - top, std::ssize(windows), c, {}};
  out.pixels.resize(static_cast<size_t>(out.height * out.width * c));
  uint8_t* to = out.pixels.data();
  for (int64_t y = top; y < bottom; ++y)
    for (const Window& window : windows) {
      std::array<int32_t, 3> sum{kHalf, kHalf, kHalf};
      const uint8_t* from = in.pixels.data() + (y * in.width + window.first) * c;
      for (const int32_t weight : window.weights)
        for (int64_t k = 0; k < c; ++k) sum[static_cast<size_t>(k)] += weight * *from++;
      for (int64_t k = 0; k < c; ++k) *to++ = level(sum[static_cast<size_t>(k)]);
    }
  return out;
}

// Rows of the windows, which count from row `top`.
io::Picture down(const io::Picture& in, int64_t top, const std::vector<Window>& windows) {
  const int64_t stride = in.width * in.channels;
  io::Picture out{std::ssize(windows), in.width, in.channels, {}};
  out.pixels.resize(static_cast<size_t>(out.height * stride));
  std::vector<int32_t> sum(static_cast<size_t>(stride));
  uint8_t* to = out.pixels.data();
  for (const Window& window : windows) {
    std::ranges::fill(sum, kHalf);
    const uint8_t* from = in.pixels.data() + (window.first - top) * stride;
    for (const int32_t weight : window.weights) {
      for (int64_t i = 0; i < stride; ++i) sum[static_cast<size_t>(i)] += weight * from[i];
      from += stride;
    }
    to = std::ranges::transform(sum, to, level).out;
  }
  return out;
}

io::Picture resize(const io::Picture& in, const Piece& rows, const Piece& columns, Filter filter) {
  const auto over = windows(in.width, columns, filter), under = windows(in.height, rows, filter);
  // As Pillow does since 13.
  if (in.height > rows.to && in.height - rows.to > 2 * (in.width - columns.to))
    return across(down(in, 0, under), 0, rows.count, over);
  // Only the rows that are looked at.
  const int64_t top = under.front().first;
  const int64_t bottom = under.back().first + std::ssize(under.back().weights);
  return down(across(in, top, bottom, over), top, under);
}

// The picture, halved, and how large it then becomes: its shorter edge has `shorter` pixels.
struct Halved {
  io::Picture picture;
  int64_t height = 0, width = 0;
};

Halved halve(io::Picture picture, int64_t shorter) {
  Halved h{std::move(picture)};
  io::Picture& p = h.picture;
  while (std::min(p.height, p.width) >= 2 * shorter)
    p = resize(p, p.height / 2, p.width / 2, Filter::box);
  const double scale =
      static_cast<double>(shorter) / static_cast<double>(std::min(p.height, p.width));
  // Half to even, as Python's round().
  const auto scaled = [&](int64_t size) {
    return static_cast<int64_t>(std::nearbyint(static_cast<double>(size) * scale));
  };
  h.height = scaled(p.height);
  h.width = scaled(p.width);
  return h;
}

// 0 to `most`, both included.
int64_t drawn(uint32_t word, int64_t most) {
  return static_cast<int64_t>(word * static_cast<uint64_t>(most + 1) >> 32);
}

}  // namespace

io::Picture centre_crop(const io::Picture& picture, int64_t side) {
  require(picture.height >= side && picture.width >= side,
          "a picture of {} x {} pixels has no middle of {} x {}", picture.height, picture.width,
          side, side);
  const auto margin = [side](int64_t size) {
    return static_cast<int64_t>(std::nearbyint(static_cast<double>(size - side) / 2));
  };
  const int64_t top = margin(picture.height), left = margin(picture.width), c = picture.channels;
  io::Picture out{side, side, c, {}};
  for (int64_t y = top; y < top + side; ++y) {
    const auto row = picture.pixels.begin() + (y * picture.width + left) * c;
    out.pixels.insert(out.pixels.end(), row, row + side * c);
  }
  return out;
}

io::Picture resize(const io::Picture& picture, int64_t height, int64_t width, Filter filter) {
  return resize(picture, {height, 0, height}, {width, 0, width}, filter);
}

io::Picture centre_square(io::Picture picture, int64_t side) {
  const Halved h = halve(std::move(picture), side);
  return resize(h.picture, {h.height, (h.height - side) / 2, side},
                {h.width, (h.width - side) / 2, side}, Filter::bicubic);
}

io::Picture random_square(io::Picture picture, int64_t side, const std::array<uint32_t, 3>& draw) {
  const int64_t most = (5 * side + 3) / 4;  // ceil(side / 0.8)
  const Halved h = halve(std::move(picture), side + drawn(draw[0], most - side));
  return resize(h.picture, {h.height, drawn(draw[1], h.height - side), side},
                {h.width, drawn(draw[2], h.width - side), side}, Filter::bicubic);
}

}  // namespace diffscm::data
