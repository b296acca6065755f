// Pictures of any format that is read: PNG, JPEG, WebP.
#pragma once

#include <filesystem>
#include <span>
#include <string_view>

#include "engine/io/png.h"

namespace diffscm::io {

// Whether a name ends as a picture's does: .png, .jpg, .jpeg, .webp.
bool names_picture(std::string_view name);

// In which format is decided by the first bytes: names lie. Throws Error naming `where`.
Picture decode_picture(std::span<const uint8_t> file, std::string_view where);
Picture read_picture(const std::filesystem::path& path);

}  // namespace diffscm::io
