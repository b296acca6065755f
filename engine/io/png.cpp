#include "engine/io/png.h"

#include <png.h>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kFileLimit = uint64_t{1} << 28;
constexpr uint64_t kPixelLimit = uint64_t{1} << 26;

struct Image : png_image {
  Image() : png_image{} { version = PNG_IMAGE_VERSION; }
  ~Image() { png_image_free(this); }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
};

}  // namespace

Picture read_png(const fs::path& path) {
  const Bytes file = read_file(path, kFileLimit);
  Image image;
  require(png_image_begin_read_from_memory(&image, file.data(), file.size()) != 0,
          "{} is not a valid PNG file: {}", show(path), show(std::string_view(image.message)));
  require(
      image.width > 0 && image.height > 0 && uint64_t{image.width} * image.height <= kPixelLimit,
      "{} has {} x {} pixels, the limit is {} in all", show(path), image.width, image.height,
      kPixelLimit);
  const bool colour = image.format & PNG_FORMAT_FLAG_COLOR;
  image.format = colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  Picture picture{image.height, image.width, colour ? 3 : 1, {}};
  picture.pixels.resize(PNG_IMAGE_SIZE(image));
  const png_color black{0, 0, 0};
  require(png_image_finish_read(&image, &black, picture.pixels.data(), 0, nullptr) != 0,
          "{} is a corrupt PNG file: {}", show(path), show(std::string_view(image.message)));
  return picture;
}

std::vector<uint8_t> encode_png(const Picture& picture) {
  require((picture.channels == 1 || picture.channels == 3) && picture.height > 0 &&
              picture.width > 0 && picture.height <= 0xffff && picture.width <= 0xffff &&
              picture.pixels.size() ==
                  static_cast<size_t>(picture.height * picture.width * picture.channels),
          "{} x {} x {} with {} bytes is not a picture", picture.height, picture.width,
          picture.channels, picture.pixels.size());
  Image image;
  image.width = static_cast<png_uint_32>(picture.width);
  image.height = static_cast<png_uint_32>(picture.height);
  image.format = picture.channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  Bytes file(size);
  require(png_image_write_to_memory(&image, file.data(), &size, 0, picture.pixels.data(), 0,
                                    nullptr) != 0,
          "cannot encode a picture: {}", image.message);
  file.resize(size);
  return file;
}

void write_png(const fs::path& path, const Picture& picture) {
  try {
    atomic_write(path, encode_png(picture));
  } catch (const Error& e) {
    fail("cannot write {}: {}", show(path), e.what());
  }
}

}  // namespace diffscm::io
