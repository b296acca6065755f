// WebP pictures, read only.
#pragma once

#include <span>
#include <string_view>

#include "engine/io/png.h"

namespace diffscm::io {

// 3 channels (sRGB), decoded by libwebp; transparency is laid over black by round(level alpha /
// 255). Throws Error, naming `where`, on a damaged file, on an animation, on more than
// kPictureBytes (of lossless files, which are decoded in two steps, half as much).
Picture decode_webp(std::span<const uint8_t> file, std::string_view where);

}  // namespace diffscm::io
