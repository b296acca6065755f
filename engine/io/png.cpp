#include "engine/io/png.h"

#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

namespace fs = std::filesystem;

// libpng leaves a failed call by longjmp. Only `begin` and `read_rows` call it, and neither holds
// an object with a destructor.
class Decoder {
 public:
  explicit Decoder(std::span<const uint8_t> file) : rest_(file) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    if (png_) info_ = png_create_info_struct(png_);
    require(info_ != nullptr, "libpng cannot start");
  }
  ~Decoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Reads up to the pixels and asks for 8-bit samples. False: see message().
  bool begin() {
    if (setjmp(png_jmpbuf(png_))) return false;
    // 1 keeps none: a thousand compressed texts may unpack to 8 MB each, and nobody reads them.
    png_set_chunk_cache_max(png_, 1);
    png_set_read_fn(png_, this, on_read);
    png_read_info(png_, info_);
    png_set_expand(png_);    // palettes to colours, 1 to 4 bits to 8, tRNS to alpha
    png_set_scale_16(png_);  // round(level / 257)
    // Neither png_set_gamma nor png_set_background: samples stay as they are stored.
    passes_ = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }
  // Samples of width() * samples() bytes per row. False: see message().
  bool read_rows(uint8_t* pixels) {
    if (setjmp(png_jmpbuf(png_))) return false;
    const size_t stride = png_get_rowbytes(png_, info_);
    for (int pass = 0; pass < passes_; ++pass)
      for (int64_t row = 0; row < height(); ++row)
        png_read_row(png_, pixels + static_cast<size_t>(row) * stride, nullptr);
    return true;
  }

  int64_t width() const { return png_get_image_width(png_, info_); }
  int64_t height() const { return png_get_image_height(png_, info_); }
  int64_t samples() const { return png_get_channels(png_, info_); }
  std::string_view message() const { return message_; }

 private:
  static Decoder& of(void* pointer) { return *static_cast<Decoder*>(pointer); }
  static void on_error(png_structp png, png_const_charp text) {
    Decoder& decoder = of(png_get_error_ptr(png));
    std::snprintf(decoder.message_, sizeof decoder.message_, "%s", text);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_read(png_structp png, png_bytep out, size_t size) {
    std::span<const uint8_t>& rest = of(png_get_io_ptr(png)).rest_;
    if (size > rest.size()) png_error(png, "it is cut short");
    std::memcpy(out, rest.data(), size);
    rest = rest.subspan(size);
  }

  std::span<const uint8_t> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
  char message_[128] = "";
};

struct Image : png_image {
  Image() : png_image{} { version = PNG_IMAGE_VERSION; }
  ~Image() { png_image_free(this); }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
};

}  // namespace

void check_size(int64_t height, int64_t width, int64_t samples, std::string_view where) {
  // Division: width * height may overflow.
  require(height > 0 && width > 0 && height <= kPictureBytes / samples / width,
          "{} has {} x {} pixels of {} samples, the limit is {} in all: make it smaller first",
          where, width, height, samples, kPictureBytes);
}

void lay_over_black(std::vector<uint8_t>& pixels, int64_t samples) {
  const auto stride = static_cast<size_t>(samples);
  uint8_t* out = pixels.data();
  for (size_t at = 0; at < pixels.size(); at += stride) {
    const unsigned alpha = pixels[at + stride - 1];
    for (size_t c = 0; c + 1 < stride; ++c)
      *out++ = static_cast<uint8_t>((pixels[at + c] * alpha + 127) / 255);
  }
  pixels.resize(static_cast<size_t>(out - pixels.data()));
}

Picture decode_png(std::span<const uint8_t> file, std::string_view where) {
  Decoder decoder(file);
  if (!decoder.begin()) fail("{} is not a valid PNG file: {}", where, show(decoder.message()));
  const int64_t width = decoder.width(), height = decoder.height(), samples = decoder.samples();
  check_size(height, width, samples, where);
  const bool alpha = samples == 2 || samples == 4;
  Picture picture{height, width, alpha ? samples - 1 : samples, {}};
  picture.pixels.resize(static_cast<size_t>(width * height * samples));
  if (!decoder.read_rows(picture.pixels.data()))
    fail("{} is a corrupt PNG file: {}", where, show(decoder.message()));
  if (alpha) lay_over_black(picture.pixels, samples);
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
  if (!png_image_write_to_memory(&image, file.data(), &size, 0, picture.pixels.data(), 0, nullptr))
    fail("cannot encode a picture: {}", image.message);
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
