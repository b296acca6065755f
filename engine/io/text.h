// Text drawn into a picture with the small built-in font of stb_easy_font.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "engine/io/png.h"

namespace diffscm::io {

using Colour = std::array<uint8_t, 3>;

// Fills [x, x + width) x [y, y + height), cut at the borders of a 3-channel picture.
void fill_rectangle(Picture& picture, int64_t x, int64_t y, int64_t width, int64_t height,
                    Colour colour);

// Size in pixels of one line at an integer magnification; kCapHeight is the height of a capital.
constexpr int64_t kCapHeight = 7;
int64_t text_width(std::string_view text, int64_t magnification);

// Draws one line with the top of its capitals at y. Characters outside printable ASCII become '?'.
void draw_text(Picture& picture, int64_t x, int64_t y, std::string_view text, int64_t magnification,
               Colour colour);

}  // namespace diffscm::io
