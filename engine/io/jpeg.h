// JPEG pictures, read only.
#pragma once

#include <span>
#include <string_view>

#include "engine/io/png.h"

namespace diffscm::io {

// Grey files give 1 channel, others 3 (sRGB), decoded as Pillow does: libjpeg's slow integer
// transform and smooth upsampling; CMYK, taken to be inverted as Adobe's is, by Pillow's formula.
// Throws Error, naming `where`, on a damaged file (one that ends early too, of which libjpeg would
// make a picture), on more than kPictureBytes, and where the coefficients of a
// progressive file would take it beyond 64 MiB and the file's own size.
Picture decode_jpeg(std::span<const uint8_t> file, std::string_view where);

}  // namespace diffscm::io
