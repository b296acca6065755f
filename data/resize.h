// Pictures cut and made smaller, to the bit as others do it.
#pragma once

#include <array>

#include "engine/io/png.h"

namespace diffscm::data {

// The middle `side` x `side` pixels; of an odd margin, the half is rounded to even as torchvision's
// CenterCrop does. Throws Error on a smaller picture.
io::Picture centre_crop(const io::Picture& picture, int64_t side);

// Half a pixel, one or two wide on either side, as a pixel of the result where that is larger
// (antialiased).
enum class Filter { box, bilinear, bicubic };

// Columns before rows (rows first where the height shrinks by more than twice as many pixels as the
// width), each rounded to 8 bits: resize() of Pillow 13.
io::Picture resize(const io::Picture& picture, int64_t height, int64_t width,
                   Filter filter = Filter::bilinear);

// A square of `side` pixels as guided-diffusion's image_datasets.py makes it: halved by boxes while
// the shorter edge has twice the pixels wanted, resized by cubics until it has as many, and cut
// out. Larger pictures are made smaller, smaller ones larger.
//
// center_crop_arr: the shorter edge becomes `side`, and the middle is kept (odd margins: less
// before than behind).
io::Picture centre_square(io::Picture picture, int64_t side);
// random_crop_arr: the shorter edge becomes `side` to `side` / 0.8, and a square anywhere is kept.
// `draw`: three uniform words that say how long, how far down and how far to the right.
io::Picture random_square(io::Picture picture, int64_t side, const std::array<uint32_t, 3>& draw);

}  // namespace diffscm::data
