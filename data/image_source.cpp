#include "data/image_source.h"

#include <algorithm>

#include "data/options.h"
#include "data/progress.h"
#include "data/resize.h"
#include "engine/io/picture_file.h"
#include "engine/parallel.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

// As Pillow's convert("L") does (ITU-R 601-2).
void make_grey(io::Picture& picture) {
  const auto pixels = static_cast<size_t>(picture.height * picture.width);
  for (size_t i = 0; i < pixels; ++i) {
    const uint8_t* rgb = picture.pixels.data() + 3 * i;
    picture.pixels[i] =
        static_cast<uint8_t>((19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + 0x8000) >> 16);
  }
  picture.pixels.resize(pixels);
  picture.channels = 1;
}

}  // namespace

ImageOptions parse_image_options(std::string_view text, std::string_view where) {
  ImageOptions o;
  const std::array all{Option{"size", 8, 1024, &o.size, "pixels on each side"},
                       Option{"channels", 1, 3, &o.channels, "grey or colours"},
                       Option{"memory", 0, 1 << 20, &o.memory_mib, "MiB for decoded images"}};
  if (!text.empty()) parse_options(text, where, all);
  require(o.channels != 2, "channels=2 of {}: give 1 (grey) or 3 (colours)", where);
  return o;
}

ImageSource::ImageSource(std::unique_ptr<const PictureStore> pictures, const ImageOptions& options)
    : pictures_(std::move(pictures)), options_(options) {
  const io::Picture first = decode(0, {});
  height_ = first.height;
  width_ = first.width;
  channels_ = first.channels;
  if (options.channels > 0) channels_ = options.channels;
  const int64_t image = height_ * width_ * channels_;
  if (!fits()) kept_ = std::min(size(), (options.memory_mib << 20) / image);
  cache_ = std::make_unique_for_overwrite<uint8_t[]>(static_cast<size_t>(kept_ * image));
  states_ = std::make_unique<std::atomic<State>[]>(static_cast<size_t>(kept_));
}

io::Picture ImageSource::decode(int64_t i, const std::optional<CropDraw>& crop) const {
  io::Picture picture = io::decode_picture(pictures_->read(i), pictures_->where(i));
  if (options_.channels == 1 && picture.channels == 3) make_grey(picture);
  if (options_.size == 0) return picture;
  return crop ? random_square(std::move(picture), options_.size, *crop)
              : centre_square(std::move(picture), options_.size);
}

void ImageSource::fit(io::Picture picture, int64_t i, std::span<uint8_t> image) const {
  require(picture.height == height_ && picture.width == width_,
          "{} is {} x {}, the first image is {} x {}: give size=N, as in --data FOLDER:size=64",
          pictures_->where(i), picture.height, picture.width, height_, width_);
  if (picture.channels == channels_) {
    std::ranges::copy(picture.pixels, image.begin());
    return;
  }
  require(picture.channels < channels_,
          "{} has colours, the first image is grey: give channels=3 or channels=1, as in --data "
          "FOLDER:channels=3",
          pictures_->where(i));
  for (size_t p = 0; p < picture.pixels.size(); ++p)
    std::fill_n(image.begin() + static_cast<std::ptrdiff_t>(3 * p), 3, picture.pixels[p]);
}

void ImageSource::read(int64_t i, std::span<uint8_t> image,
                       const std::optional<CropDraw>& crop) const {
  require(i >= 0 && i < size(), "image {} of {}", i, size());
  if (crop || i >= kept_) return fit(decode(i, crop), i, image);
  std::atomic<State>& state = states_[static_cast<size_t>(i)];
  uint8_t* kept = cache_.get() + static_cast<size_t>(i) * image.size();
  if (state.load(std::memory_order_acquire) == there) {
    std::copy_n(kept, image.size(), image.begin());
    return;
  }
  fit(decode(i, {}), i, image);
  State expected = absent;
  if (!state.compare_exchange_strong(expected, coming)) return;  // another thread keeps it
  std::ranges::copy(image, kept);
  state.store(there, std::memory_order_release);
}

std::string ImageSource::checksum() const {
  std::string text;
  const auto shorten = [&] {
    text = io::sha256({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  for (int64_t i = 0; i < size(); ++i) {
    text += fmt::format("{} {}\n", pictures_->name(i), pictures_->length(i));
    if (text.size() > 1 << 20) shorten();
  }
  shorten();
  return text;
}

int64_t ImageSource::bytes_in_memory() const {
  return size() * height_ * width_ * channels_ * static_cast<int64_t>(sizeof(float));
}

void add_images(Dataset& set, std::unique_ptr<const PictureStore> pictures,
                const ImageOptions& options) {
  const auto source = std::make_shared<ImageSource>(std::move(pictures), options);
  const int64_t count = source->size();
  set.height = source->height();
  set.width = source->width();
  set.channels = source->channels();
  set.source = source;
  if (!source->fits()) {
    set.notes.push_back(fmt::format(
        "{} images of {} x {} x {} are decoded as they are needed: in memory they would take {} "
        "MiB, more than memory={}",
        count, set.height, set.width, set.channels, source->bytes_in_memory() >> 20,
        options.memory_mib));
    return;
  }
  const int64_t image = set.height * set.width * set.channels;
  std::vector<float> pixels(static_cast<size_t>(count * image));
  in_parallel(count, [&](int64_t i) {
    std::vector<uint8_t> levels(static_cast<size_t>(image));
    source->read(i, levels);
    std::ranges::transform(levels, pixels.begin() + i * image, pixel_of_byte);
  });
  set.pixels = std::move(pixels);
}

}  // namespace diffscm::data
