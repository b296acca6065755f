#include "engine/io/picture_file.h"

#include <algorithm>
#include <array>

#include "engine/io/ending.h"
#include "engine/io/file.h"
#include "engine/io/jpeg.h"
#include "engine/io/webp.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

constexpr uint64_t kFileLimit = uint64_t{1} << 28;

}  // namespace

bool names_picture(std::string_view name) {
  constexpr std::array kEndings{".png", ".jpg", ".jpeg", ".webp"};
  return std::ranges::find(kEndings, ending_of(name)) != kEndings.end();
}

Picture decode_picture(std::span<const uint8_t> file, std::string_view where) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (text.starts_with("\x89PNG")) return decode_png(file, where);
  if (text.starts_with("\xff\xd8")) return decode_jpeg(file, where);
  if (text.starts_with("RIFF") && text.substr(std::min<size_t>(8, text.size())).starts_with("WEBP"))
    return decode_webp(file, where);
  fail("{} is no PNG, JPEG or WebP file", where);
}

Picture read_picture(const std::filesystem::path& path) {
  return decode_picture(read_file(path, kFileLimit), show(path));
}

}  // namespace diffscm::io
