// Digits for the tests of data/morpho.
#pragma once

#include <cmath>
#include <optional>

#include "data/mnist.h"
#include "data/morpho/resample.h"
#include "tests/engine/io_testing.h"

namespace diffscm::data::morpho {

// 28 x 28 with a white rectangle.
inline GreyImage box(int top, int bottom, int left, int right) {
  GreyImage image{28, 28, 1, std::vector<uint8_t>(28 * 28)};
  for (int y = top; y < bottom; ++y) std::fill(image.row(y) + left, image.row(y) + right, 255);
  return image;
}
inline GreyImage bar() {
  return box(12, 16, 4, 24);
}

// None where MNIST would have to be downloaded.
inline std::optional<GreyImage> first_training_image() {
  static const std::optional<GreyImage> first = []() -> std::optional<GreyImage> {
    if (!has_mnist()) return {};
    const Dataset mnist = load_mnist(Split::train);
    GreyImage image{28, 28, 1, {}};
    for (size_t i = 0; i < 28 * 28; ++i)
      image.pixels.push_back(static_cast<uint8_t>(std::lround((mnist.pixels[i] + 1) * 127.5f)));
    return image;
  }();
  return first;
}

}  // namespace diffscm::data::morpho
