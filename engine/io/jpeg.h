// JPEG pictures, read only.
#pragma once

#include <filesystem>

#include "engine/io/png.h"

namespace diffscm::io {

// Grey files give 1 channel, colour files 3 (sRGB), decoded as Pillow does: libjpeg's slow integer
// transform and smooth upsampling. Throws Error on another file, on a damaged one (one that ends
// early too, of which libjpeg would make a picture), on CMYK and on more than 2^26 pixels.
Picture read_jpeg(const std::filesystem::path& path);

}  // namespace diffscm::io
