#include "data/resize.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"

namespace diffscm::data {
namespace {

constexpr int kBits = 22;  // of the weights' fixed point

struct Window {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

// What each pixel of the result is made of, along one axis.
std::vector<Window> windows(int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double support = std::max(scale, 1.0);
  std::vector<Window> all;
  for (int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto edge = [&](double at) {
      return std::clamp(static_cast<int64_t>(at + 0.5), int64_t{0}, from);
    };
    Window window{edge(centre - support), {}};
    std::vector<double> weights;
    double sum = 0;
    for (int64_t k = window.first; k < edge(centre + support); ++k) {
      const double distance = std::abs((static_cast<double>(k) - centre + 0.5) / support);
      weights.push_back(std::max(0.0, 1 - distance));
      sum += weights.back();
    }
    for (const double weight : weights)
      window.weights.push_back(static_cast<int32_t>(0.5 + weight / sum * (1 << kBits)));
    all.push_back(std::move(window));
  }
  return all;
}

// `stride` apart in the picture.
uint8_t weighted(const Window& window, const uint8_t* values, int64_t stride) {
  int64_t sum = 1 << (kBits - 1);
  for (const int32_t weight : window.weights) {
    sum += int64_t{weight} * *values;
    values += stride;
  }
  return static_cast<uint8_t>(std::clamp<int64_t>(sum >> kBits, 0, 255));
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

io::Picture resize(const io::Picture& picture, int64_t height, int64_t width) {
  const int64_t c = picture.channels;
  io::Picture wide{picture.height, width, c, {}}, out{height, width, c, {}};
  const auto across = windows(picture.width, width), down = windows(picture.height, height);
  for (int64_t y = 0; y < picture.height; ++y)
    for (const Window& window : across)
      for (int64_t k = 0; k < c; ++k)
        wide.pixels.push_back(weighted(
            window,
            &picture.pixels[static_cast<size_t>((y * picture.width + window.first) * c + k)], c));
  for (const Window& window : down)
    for (int64_t i = 0; i < width * c; ++i)
      out.pixels.push_back(weighted(
          window, &wide.pixels[static_cast<size_t>(window.first * width * c + i)], width * c));
  return out;
}

}  // namespace diffscm::data
