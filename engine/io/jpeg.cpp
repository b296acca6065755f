#include "engine/io/jpeg.h"

// clang-format off: jpeglib.h needs FILE and size_t from before it
#include <jerror.h>
#include <jpeglib.h>
#include <cstdio>
// clang-format on

#include <csetjmp>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

// A small progressive file can ask for its pixels to be refined without end.
constexpr int kMostScans = 100;
// Pixels and coefficients together, beyond the file's size.
constexpr int64_t kMost = int64_t{64} << 20;

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
    jpeg_.out_color_space = jpeg_.num_components == 1   ? JCS_GRAYSCALE
                            : jpeg_.num_components == 4 ? JCS_CMYK
                                                        : JCS_RGB;
    jpeg_calc_output_dimensions(&jpeg_);
    return true;
  }
  // width() * channels() bytes per row; `row` has room for width() * samples(). libjpeg itself may
  // take `memory` bytes. False: see message().
  bool read_rows(uint8_t* pixels, uint8_t* row, long memory) {
    if (setjmp(failed_)) return false;
    jpeg_.mem->max_memory_to_use = memory;
    jpeg_start_decompress(&jpeg_);
    const auto stride = static_cast<size_t>(width() * channels());
    while (jpeg_.output_scanline < jpeg_.output_height) {
      uint8_t* out = pixels + jpeg_.output_scanline * stride;
      JSAMPROW into = samples() == channels() ? out : row;
      jpeg_read_scanlines(&jpeg_, &into, 1);
      if (into == row) to_rgb(row, out);
    }
    jpeg_finish_decompress(&jpeg_);
    return true;
  }

  int64_t width() const { return jpeg_.output_width; }
  int64_t height() const { return jpeg_.output_height; }
  int64_t samples() const { return jpeg_.out_color_components; }
  int64_t channels() const { return samples() == 1 ? 1 : 3; }
  std::string_view message() const { return message_; }

 private:
  [[noreturn]] void leave(const char* text) {
    std::snprintf(message_, sizeof message_, "%s", text);
    std::longjmp(failed_, 1);
  }
  [[noreturn]] static void on_error(j_common_ptr jpeg) {
    char text[JMSG_LENGTH_MAX];
    if (jpeg->err->msg_code == JERR_NO_BACKING_STORE)
      std::snprintf(text, sizeof text,
                    "it needs too much memory: save it without progressive scans");
    else
      jpeg->err->format_message(jpeg, text);
    static_cast<Decoder*>(jpeg->client_data)->leave(text);
  }
  // Level -1 is a warning: the data are damaged, and libjpeg would make something of them. But
  // cameras leave bytes between the last pixel and the end, which harm nobody.
  static void on_message(j_common_ptr jpeg, int level) {
    const jpeg_error_mgr& error = *jpeg->err;
    const bool filling = error.msg_code == JWRN_EXTRANEOUS_DATA && error.msg_parm.i[1] == JPEG_EOI;
    if (level < 0 && !filling) on_error(jpeg);
  }
  static void on_progress(j_common_ptr jpeg) {
    auto* decoder = static_cast<Decoder*>(jpeg->client_data);
    if (decoder->jpeg_.input_scan_number > kMostScans) decoder->leave("it has too many scans");
  }
  // A row of inverted CMYK: nk - (255 - c) nk / 255, rounded as Pillow does, nk the stored black.
  void to_rgb(const uint8_t* cmyk, uint8_t* rgb) const {
    for (int64_t x = 0; x < width(); ++x, cmyk += 4)
      for (int c = 0; c < 3; ++c) {
        const int product = (255 - cmyk[c]) * cmyk[3] + 128;
        *rgb++ = static_cast<uint8_t>(cmyk[3] - ((product + (product >> 8)) >> 8));
      }
  }

  std::span<const uint8_t> file_;
  jpeg_decompress_struct jpeg_{};
  jpeg_error_mgr errors_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf failed_;
  char message_[JMSG_LENGTH_MAX] = "";
};

}  // namespace

Picture decode_jpeg(std::span<const uint8_t> file, std::string_view where) {
  Decoder decoder(file);
  if (!decoder.begin()) fail("{} is not a valid JPEG file: {}", where, show(decoder.message()));
  const int64_t width = decoder.width(), height = decoder.height();
  check_size(height, width, decoder.channels(), where);
  Picture picture{height, width, decoder.channels(), {}};
  picture.pixels.resize(static_cast<size_t>(width * height * picture.channels));
  std::vector<uint8_t> row(static_cast<size_t>(width * decoder.samples()));
  const int64_t memory = kMost - std::ssize(picture.pixels) + std::ssize(file);
  if (!decoder.read_rows(picture.pixels.data(), row.data(), static_cast<long>(memory)))
    fail("{} is a damaged JPEG file: {}", where, show(decoder.message()));
  return picture;
}

}  // namespace diffscm::io
