// 8-bit PNG pictures.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace diffscm::io {

// Rows from the top, channels interleaved; 1 channel (grey) or 3 (sRGB).
struct Picture {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;  // height * width * channels
};

// Grey files give 1 channel, others (palettes too) 3. Samples are taken as they are stored, as
// Pillow and torchvision do: chunks about gamma and colour spaces change nothing, 16 bits become
// round(level / 257), transparency is laid over black by round(level alpha / 255). Throws Error on
// a corrupt file and on more than 2^26 pixels (checked before allocating).
Picture read_png(const std::filesystem::path& path);

// The bytes of a PNG file.
std::vector<uint8_t> encode_png(const Picture& picture);
// Atomic.
void write_png(const std::filesystem::path& path, const Picture& picture);

}  // namespace diffscm::io
