// Which images each step of training sees, and in which variation, whether the data set is in
// memory or decoded on the way.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "data/dataset.h"
#include "training/epoch_order.h"
#include "training/image_queue.h"

namespace diffscm {

// Chance variations of an image, drawn anew each time that it is seen.
struct Augmentation {
  bool random_crop = false;  // guided-diffusion's (data/resize.h) instead of the middle
  bool flip = false;         // half of the images are mirrored, left for right
  // Each image is moved by a whole number of pixels up to this along each axis, drawn uniformly;
  // its edge is repeated into what becomes free.
  int64_t shift = 0;
};

// A function of (seed, step). Each epoch is a fresh permutation.
class ImageBatches {
 public:
  // Draws from images `rows` of the data set alone; empty: from all. Throws Error on a data set
  // that is empty, and when images are to be cut that the data set does not cut.
  ImageBatches(const data::Dataset& dataset, std::vector<int64_t> rows, int64_t batch,
               uint64_t seed, const Augmentation& augmentation = {});
  ImageBatches(const ImageBatches&) = delete;  // its threads know where it is
  ImageBatches& operator=(const ImageBatches&) = delete;

  // The images of step 0, 1, ...: into the data set.
  std::vector<int64_t> index(int64_t step) const;
  // [N,H,W,C] on the cpu target. Steps in order are made ahead.
  Tensor images(int64_t step) const;

 private:
  kernels::Philox draw(int64_t step, int64_t i, uint32_t which) const;
  std::vector<ImageRequest> requests(int64_t step) const;
  std::vector<std::array<int64_t, 2>> shifts(int64_t step) const;

  const data::Dataset& dataset_;
  std::vector<int64_t> rows_;
  int64_t batch_;
  uint64_t seed_;
  Augmentation augmentation_;
  EpochOrder order_;
  std::unique_ptr<ImageQueue> queue_;  // of a data set that is not in memory
};

}  // namespace diffscm
