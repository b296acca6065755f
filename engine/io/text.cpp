#include "engine/io/text.h"

#include <algorithm>
#include <cmath>
#include <vector>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_easy_font.h>
#pragma GCC diagnostic pop

namespace diffscm::io {
namespace {

// The top of capitals within the font's line.
constexpr int64_t kAscent = 1;

// stb indexes a table by the character: only printable ASCII may reach it. A UTF-8 sequence becomes
// one
// '?'. The library wants mutable text.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xc0) == 0x80) continue;
    out += byte >= 0x20 && byte < 0x7f ? c : '?';
  }
  return out;
}

}  // namespace

void fill_rectangle(Picture& picture, int64_t x, int64_t y, int64_t width, int64_t height,
                    Colour colour) {
  const int64_t x_end = std::min(x + width, picture.width);
  const int64_t y_end = std::min(y + height, picture.height);
  for (int64_t row = std::max<int64_t>(y, 0); row < y_end; ++row)
    for (int64_t column = std::max<int64_t>(x, 0); column < x_end; ++column)
      std::copy(colour.begin(), colour.end(),
                picture.pixels.begin() + (row * picture.width + column) * 3);
}

int64_t text_width(std::string_view text, int64_t magnification) {
  std::string copy = printable(text);
  return stb_easy_font_width(copy.data()) * magnification;
}

void draw_text(Picture& picture, int64_t x, int64_t y, std::string_view text, int64_t magnification,
               Colour colour) {
  struct Vertex {
    float x, y, z;
    unsigned char colour[4];
  };
  std::string copy = printable(text);
  // The library silently drops what does not fit; no character has more than 32 quads.
  std::vector<Vertex> vertices(copy.size() * 32 * 4 + 4);
  const int quads = stb_easy_font_print(0, 0, copy.data(), nullptr, vertices.data(),
                                        static_cast<int>(vertices.size() * sizeof(Vertex)));
  for (int i = 0; i < quads; ++i) {
    const Vertex* quad = &vertices[static_cast<size_t>(i) * 4];  // corners; 0 and 2 are opposite
    const auto left = std::lround(quad[0].x), top = std::lround(quad[0].y);
    const auto right = std::lround(quad[2].x), bottom = std::lround(quad[2].y);
    fill_rectangle(picture, x + left * magnification, y + (top - kAscent) * magnification,
                   (right - left) * magnification, (bottom - top) * magnification, colour);
  }
}

}  // namespace diffscm::io
