#include "engine/io/webp.h"

#include <webp/decode.h>

#include "kernels/error.h"

namespace diffscm::io {
namespace {

// The length that the RIFF header gives, itself included.
size_t riff_length(std::span<const uint8_t> file) {
  size_t length = 0;
  for (size_t i = 8; i-- > 4;) length = length << 8 | file[i];
  return length + 8;
}

}  // namespace

Picture decode_webp(std::span<const uint8_t> file, std::string_view where) {
  WebPBitstreamFeatures features;
  if (file.size() < 12 || WebPGetFeatures(file.data(), file.size(), &features) != VP8_STATUS_OK)
    fail("{} is not a valid WebP file", where);
  require(!features.has_animation, "{} is an animation: give single pictures", where);
  // libwebp makes a picture of a file whose last bytes are missing.
  require(riff_length(file) <= file.size(), "{} is cut short: {} of {} bytes are there", where,
          file.size(), riff_length(file));
  const int64_t width = features.width, height = features.height;
  const int64_t samples = features.has_alpha ? 4 : 3;
  const bool lossless = features.format == 2;
  check_size(height, width, samples + (lossless ? 4 : 0), where);
  Picture picture{height, width, 3, {}};
  picture.pixels.resize(static_cast<size_t>(width * height * samples));
  const auto decode = features.has_alpha ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  require(decode(file.data(), file.size(), picture.pixels.data(), picture.pixels.size(),
                 static_cast<int>(width * samples)) != nullptr,
          "{} is a damaged WebP file", where);
  if (features.has_alpha) lay_over_black(picture.pixels, samples);
  return picture;
}

}  // namespace diffscm::io
