// Digits for the tests of data/morpho.
#pragma once

#include <cmath>
#include <cstdlib>
#include <optional>

#include "data/mnist.h"
#include "data/morpho/resample.h"
#include "tests/engine/io_testing.h"

namespace diffscm::data::morpho {

// 28 x 28, rows 12 to 15 and columns 4 to 23 white.
inline GreyImage bar() {
  GreyImage image{28, 28, 1, std::vector<uint8_t>(28 * 28)};
  for (int y = 12; y < 16; ++y) std::fill_n(image.row(y) + 4, 20, uint8_t{255});
  return image;
}

// None where MNIST would have to be downloaded.
inline std::optional<GreyImage> first_training_image() {
  ::setenv("DIFFSCM_OFFLINE", "1", 1);
  try {
    const Dataset mnist = load_mnist(Split::train);
    GreyImage image{28, 28, 1, {}};
    for (size_t i = 0; i < 28 * 28; ++i)
      image.pixels.push_back(static_cast<uint8_t>(std::lround((mnist.pixels[i] + 1) * 127.5)));
    return image;
  } catch (const Error&) {
    return {};
  }
}

}  // namespace diffscm::data::morpho
