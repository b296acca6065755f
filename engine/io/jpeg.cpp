#include "engine/io/jpeg.h"

// clang-format off: jpeglib.h needs FILE and size_t from before it
#include <jpeglib.h>
#include <cstdio>
// clang-format on

#include <csetjmp>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kFileLimit = uint64_t{1} << 28;
constexpr uint64_t kPixelLimit = uint64_t{1} << 26;
// A small progressive file can ask for its pixels to be refined without end.
constexpr int kMostScans = 100;

// libjpeg leaves a failed call by longjmp. Only `begin` and `read_rows` call it, and neither holds
// an object with a destructor.
class Decoder {
 public:
  explicit Decoder(std::span<const uint8_t> file) : file_(file) {
    jpeg_.err = jpeg_std_error(&errors_);
    jpeg_.client_data = this;
    errors_.error_exit = on_error;
    errors_.emit_message = on_message;
    progress_.progress_monitor = on_progress;
  }
  ~Decoder() { jpeg_destroy_decompress(&jpeg_); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Reads up to the pixels. False: see message().
  bool begin() {
    if (setjmp(failed_)) return false;
    jpeg_create_decompress(&jpeg_);
    jpeg_.progress = &progress_;
    jpeg_mem_src(&jpeg_, file_.data(), static_cast<unsigned long>(file_.size()));
    jpeg_read_header(&jpeg_, TRUE);
    jpeg_.out_color_space = jpeg_.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_calc_output_dimensions(&jpeg_);
    return true;
  }
  // width() * channels() bytes per row. False: see message().
  bool read_rows(uint8_t* pixels) {
    if (setjmp(failed_)) return false;
    jpeg_start_decompress(&jpeg_);
    const auto stride = static_cast<size_t>(width() * channels());
    while (jpeg_.output_scanline < jpeg_.output_height) {
      JSAMPROW row = pixels + jpeg_.output_scanline * stride;
      jpeg_read_scanlines(&jpeg_, &row, 1);
    }
    jpeg_finish_decompress(&jpeg_);
    return true;
  }

  int64_t width() const { return jpeg_.output_width; }
  int64_t height() const { return jpeg_.output_height; }
  int64_t channels() const { return jpeg_.num_components == 1 ? 1 : 3; }
  std::string_view message() const { return message_; }

 private:
  [[noreturn]] void leave(const char* text) {
    std::snprintf(message_, sizeof message_, "%s", text);
    std::longjmp(failed_, 1);
  }
  [[noreturn]] static void on_error(j_common_ptr jpeg) {
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    static_cast<Decoder*>(jpeg->client_data)->leave(text);
  }
  // Level -1 is a warning: the data are damaged, and libjpeg would make something of them.
  static void on_message(j_common_ptr jpeg, int level) {
    if (level < 0) on_error(jpeg);
  }
  static void on_progress(j_common_ptr jpeg) {
    auto* decoder = static_cast<Decoder*>(jpeg->client_data);
    if (decoder->jpeg_.input_scan_number > kMostScans) decoder->leave("it has too many scans");
  }

  std::span<const uint8_t> file_;
  jpeg_decompress_struct jpeg_{};
  jpeg_error_mgr errors_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf failed_;
  char message_[JMSG_LENGTH_MAX] = "";
};

}  // namespace

Picture read_jpeg(const fs::path& path) {
  const Bytes file = read_file(path, kFileLimit);
  Decoder decoder(file);
  if (!decoder.begin())
    fail("{} is not a valid JPEG file: {}", show(path), show(decoder.message()));
  const int64_t width = decoder.width(), height = decoder.height();
  require(static_cast<uint64_t>(width) * static_cast<uint64_t>(height) <= kPixelLimit,
          "{} has {} x {} pixels, the limit is {} in all", show(path), width, height, kPixelLimit);
  Picture picture{height, width, decoder.channels(), {}};
  picture.pixels.resize(static_cast<size_t>(width * height * picture.channels));
  if (!decoder.read_rows(picture.pixels.data()))
    fail("{} is a damaged JPEG file: {}", show(path), show(decoder.message()));
  return picture;
}

}  // namespace diffscm::io
