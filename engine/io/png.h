// 8-bit PNG pictures.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace diffscm::io {

// Rows from the top, channels interleaved; 1 channel (grey) or 3 (sRGB).
struct Picture {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;  // height * width * channels
};

// What a picture may take when it is decoded: 4096 x 4096 in colour. A file of a few kilobytes can
// ask for any size.
constexpr int64_t kPictureBytes = int64_t{48} << 20;
// Throws Error, naming `where`, when the picture would take more.
void check_size(int64_t height, int64_t width, int64_t samples, std::string_view where);
// Drops the last of `samples` per pixel, the alpha, after laying the others over black.
void lay_over_black(std::vector<uint8_t>& pixels, int64_t samples);

// Grey files give 1 channel, others (palettes too) 3. Samples are taken as they are stored, as
// Pillow and torchvision do: chunks about gamma and colour spaces change nothing, 16 bits become
// round(level / 257), transparency is laid over black by round(level alpha / 255). Throws Error,
// naming `where`, on a corrupt file and on more than kPictureBytes (checked before allocating).
Picture decode_png(std::span<const uint8_t> file, std::string_view where);

// The bytes of a PNG file.
std::vector<uint8_t> encode_png(const Picture& picture);
// Atomic.
void write_png(const std::filesystem::path& path, const Picture& picture);

}  // namespace diffscm::io
