// Enlarging and reducing grey images as scikit-image 0.18 does (transform.pyramid_expand and
// pyramid_reduce, order 3), with which the Morpho-MNIST files were made: Catmull-Rom interpolation
// and a Gaussian of sigma s / 3. Later versions interpolate by B-splines and differ.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace diffscm::data::morpho {

// Rows from the top. `scale`: how many of its pixels one pixel of a digit is wide.
template <typename T>
struct Image {
  int height = 0, width = 0, scale = 1;
  std::vector<T> pixels;  // [height, width]

  T* row(int y) { return pixels.data() + static_cast<size_t>(y) * static_cast<size_t>(width); }
  const T* row(int y) const {
    return pixels.data() + static_cast<size_t>(y) * static_cast<size_t>(width);
  }
};
using GreyImage = Image<uint8_t>;
using Mask = Image<uint8_t>;  // 0 or 1

// scale times as high and wide; levels trunc(255 v). scale = 1: the image itself.
GreyImage enlarge(const GreyImage& digit, int scale);
// The inverse in size: a mask enlarged by its `scale` becomes grey levels of a digit.
GreyImage reduce(const Mask& mask);

}  // namespace diffscm::data::morpho
