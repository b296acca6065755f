#include "training/image_batches.h"

#include <algorithm>
#include <array>

#include "engine/target.h"

namespace diffscm {
namespace {

using kernels::philox;

constexpr int64_t kAhead = 3;     // batches
constexpr int kMostThreads = 16;  // that decode

// x [N,H,W,C] on the cpu, image i moved by (dy, dx) pixels.
Tensor moved(const Tensor& x, std::span<const std::array<int64_t, 2>> by) {
  const int64_t height = x.dim(1), width = x.dim(2), channels = x.dim(3);
  const float* from = x.data<float>();
  std::vector<float> to(static_cast<size_t>(x.numel()));
  for (int64_t n = 0; n < x.dim(0); ++n)
    for (int64_t i = 0; i < height; ++i)
      for (int64_t j = 0; j < width; ++j) {
        const int64_t si = std::clamp<int64_t>(i - by[n][0], 0, height - 1);
        const int64_t sj = std::clamp<int64_t>(j - by[n][1], 0, width - 1);
        std::copy_n(from + ((n * height + si) * width + sj) * channels, channels,
                    to.begin() + ((n * height + i) * width + j) * channels);
      }
  return Tensor::from(to, x.shape());
}

// Mirrors image n of x [N,H,W,C] in place.
void mirror(Tensor& x, int64_t n) {
  const int64_t width = x.dim(2), channels = x.dim(3);
  float* row = x.mutable_data() + n * x.dim(1) * width * channels;
  for (int64_t i = 0; i < x.dim(1); ++i, row += width * channels)
    for (int64_t left = 0, right = width - 1; left < right; ++left, --right)
      std::swap_ranges(row + left * channels, row + (left + 1) * channels, row + right * channels);
}

}  // namespace

ImageBatches::ImageBatches(const data::Dataset& dataset, std::vector<int64_t> rows, int64_t batch,
                           uint64_t seed, const Augmentation& augmentation)
    : dataset_(dataset),
      rows_(std::move(rows)),
      batch_(batch),
      seed_(seed),
      augmentation_(augmentation),
      order_(rows_.empty() ? dataset.size() : std::ssize(rows_), seed) {
  require(batch >= 1, "batch {} must be at least 1", batch);
  require(augmentation.shift >= 0, "shift {} must not be negative", augmentation.shift);
  require(dataset.size() >= 1, "data set {} is empty", dataset.name);
  const data::ImageSource* source = dataset.source.get();
  require(!augmentation.random_crop || (source && source->crops()),
          "random_crop: the images of {} are not cut from larger ones, as those of --data "
          "FOLDER:size=64 are",
          dataset.name);
  if (source && (dataset.pixels.empty() || augmentation.random_crop))
    queue_ = std::make_unique<ImageQueue>(
        *source, [this](int64_t step) { return requests(step); }, kAhead,
        std::min(threads(), kMostThreads));
}

std::vector<int64_t> ImageBatches::index(int64_t step) const {
  std::vector<int64_t> index;
  for (int64_t i = 0; i < batch_; ++i) {
    const int64_t at = order_.at(step * batch_ + i);
    index.push_back(rows_.empty() ? at : rows_[static_cast<size_t>(at)]);
  }
  return index;
}

// What is drawn for image i of a step: where it is moved (words 0, 1); whether it is mirrored (word
// 0) and where it is cut (the others).
constexpr uint32_t kShift = 2, kCut = 3;

kernels::Philox ImageBatches::draw(int64_t step, int64_t i, uint32_t which) const {
  return philox({seed_, kernels::Purpose::timestep, static_cast<uint32_t>(step)}, which,
                static_cast<uint32_t>(i));
}

std::vector<ImageRequest> ImageBatches::requests(int64_t step) const {
  std::vector<ImageRequest> requests;
  for (const int64_t image : index(step)) {
    ImageRequest request{image, {}};
    if (augmentation_.random_crop) {
      const kernels::Philox drawn = draw(step, std::ssize(requests), kCut);
      request.crop = {drawn.word[1], drawn.word[2], drawn.word[3]};
    }
    requests.push_back(request);
  }
  return requests;
}

Tensor ImageBatches::images(int64_t step) const {
  Tensor x;
  if (queue_) {
    const std::vector<uint8_t> levels = queue_->take(step);
    x = Tensor({batch_, dataset_.height, dataset_.width, dataset_.channels});
    std::ranges::transform(levels, x.mutable_data(), data::pixel_of_byte);
  } else {
    x = dataset_.images(index(step));
  }
  if (augmentation_.flip)
    for (int64_t i = 0; i < batch_; ++i)
      if (draw(step, i, kCut).word[0] >> 31) mirror(x, i);
  if (augmentation_.shift > 0) x = moved(x, shifts(step));
  return x;
}

std::vector<std::array<int64_t, 2>> ImageBatches::shifts(int64_t step) const {
  const int64_t shift = augmentation_.shift;
  std::vector<std::array<int64_t, 2>> by(static_cast<size_t>(batch_));
  for (int64_t i = 0; i < batch_; ++i) {
    const kernels::Philox drawn = draw(step, i, kShift);
    for (size_t axis = 0; axis < 2; ++axis)
      by[static_cast<size_t>(i)][axis] =
          static_cast<int64_t>((drawn.word[axis] * static_cast<uint64_t>(2 * shift + 1)) >> 32) -
          shift;
  }
  return by;
}

}  // namespace diffscm
