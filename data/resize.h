// Pictures cut and made smaller.
#pragma once

#include "engine/io/png.h"

namespace diffscm::data {

// The middle `side` x `side` pixels; of an odd margin, the half is rounded to even as torchvision's
// CenterCrop does. Throws Error on a smaller picture.
io::Picture centre_crop(const io::Picture& picture, int64_t side);

// Bilinear with the filter as wide as a pixel of the result (antialiased), rows after columns, each
// rounded to 8 bits: Pillow's resize(BILINEAR), to the bit.
io::Picture resize(const io::Picture& picture, int64_t height, int64_t width);

}  // namespace diffscm::data
