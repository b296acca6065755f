// A JPEG file for tests: the product only reads them.
#pragma once

// clang-format off: jpeglib.h needs FILE and size_t from before it
#include <jpeglib.h>
#include <cstdio>
// clang-format on

#include <array>
#include <cstdlib>
#include <string>

#include "engine/io/png.h"

namespace diffscm::testing {

enum class Scans { one, one_per_channel, progressive };

// 1, 3 or 4 (CMYK) channels.
inline std::string encode_jpeg(const io::Picture& picture, int quality = 90,
                               Scans scans = Scans::one) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &memory, &size);
  jpeg.image_width = static_cast<JDIMENSION>(picture.width);
  jpeg.image_height = static_cast<JDIMENSION>(picture.height);
  jpeg.input_components = static_cast<int>(picture.channels);
  jpeg.in_color_space = picture.channels == 1   ? JCS_GRAYSCALE
                        : picture.channels == 3 ? JCS_RGB
                                                : JCS_CMYK;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, quality, TRUE);
  if (scans == Scans::progressive) jpeg_simple_progression(&jpeg);
  std::array<jpeg_scan_info, 3> channels{};
  if (scans == Scans::one_per_channel) {
    for (int c = 0; c < 3; ++c) channels[static_cast<size_t>(c)] = {1, {c}, 0, 63, 0, 0};
    jpeg.scan_info = channels.data();
    jpeg.num_scans = 3;
  }
  jpeg_start_compress(&jpeg, TRUE);
  for (int64_t y = 0; y < picture.height; ++y) {
    auto* row = const_cast<JSAMPROW>(picture.pixels.data() + y * picture.width * picture.channels);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  std::string file(reinterpret_cast<char*>(memory), size);
  jpeg_destroy_compress(&jpeg);
  std::free(memory);
  return file;
}

}  // namespace diffscm::testing
