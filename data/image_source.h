// The pictures of a data set that are decoded when they are asked for.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "data/dataset.h"
#include "data/picture_store.h"
#include "engine/io/png.h"

namespace diffscm::data {

struct ImageOptions {
  int64_t size = 0;           // of the square that each picture becomes; 0: as it is
  int64_t channels = 0;       // 1 or 3; 0: those of the first picture
  int64_t memory_mib = 1024;  // for decoded pictures
};
// "size=64,channels=3,memory=512". Throws Error naming `where` and what there is.
ImageOptions parse_image_options(std::string_view text, std::string_view where);

// Where the square of a random crop lies (data/resize.h).
using CropDraw = std::array<uint32_t, 3>;

// Images of one shape. All functions may be called from any thread.
class ImageSource {
 public:
  // Decodes the first picture, which gives what the options leave open.
  ImageSource(std::unique_ptr<const PictureStore> pictures, const ImageOptions& options);

  int64_t size() const { return pictures_->size(); }
  int64_t height() const { return height_; }
  int64_t width() const { return width_; }
  int64_t channels() const { return channels_; }
  // What all images take as floating-point numbers, and whether that is within the memory wanted.
  int64_t bytes_in_memory() const;
  int64_t memory_bytes() const { return options_.memory_mib << 20; }
  bool fits() const { return bytes_in_memory() <= memory_bytes(); }
  // Whether read() can cut images at random: they are squares of a wanted size.
  bool crops() const { return options_.size > 0; }

  // Image i, levels 0 to 255 [H, W, C]: centre_square() of its picture, or random_square(). Grey
  // pictures among coloured ones are coloured; with channels = 1 colours become grey as Pillow's
  // convert("L") does. Where not all fit, the first that do so as bytes are decoded once. Throws
  // Error naming the file that is damaged or of another size.
  void read(int64_t i, std::span<uint8_t> image, const std::optional<CropDraw>& crop = {}) const;
  // SHA-256 of the names and lengths of the files.
  std::string checksum() const;

 private:
  io::Picture decode(int64_t i, const std::optional<CropDraw>& crop) const;
  void fit(io::Picture picture, int64_t i, std::span<uint8_t> image) const;

  std::unique_ptr<const PictureStore> pictures_;
  ImageOptions options_;
  int64_t height_ = 0, width_ = 0, channels_ = 0;

  enum State : uint8_t { absent, coming, there };
  int64_t kept_ = 0;  // images 0 to kept_ - 1
  std::unique_ptr<uint8_t[]> cache_;
  std::unique_ptr<std::atomic<State>[]> states_;
};

// Makes them the images of `set`, which has none: in memory when all fit as floating-point numbers,
// so that damage shows at once; else decoded when they are needed, which a note says.
void add_images(Dataset& set, std::unique_ptr<const PictureStore> pictures,
                const ImageOptions& options);

}  // namespace diffscm::data
