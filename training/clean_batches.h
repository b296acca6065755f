// Training batches without noise, for the networks that judge counterfactuals.
#pragma once

#include <vector>

#include "data/dataset.h"
#include "training/image_batches.h"

namespace diffscm {

struct CleanBatch {
  std::vector<int64_t> index;   // into the data set
  std::vector<int64_t> labels;  // empty if the data set has none
  Tensor x;                     // [N,H,W,C] in [-1, 1]

  // {x, labels [N] i64}, where x is.
  std::vector<Tensor> with_labels() const;
};

class CleanBatches {
 public:
  // Draws from images `rows` of the data set alone; empty: from all.
  CleanBatches(const data::Dataset& dataset, std::vector<int64_t> rows, int64_t batch,
               uint64_t seed, Target target);
  // The batch of step 0, 1, ... (training/image_batches.h).
  CleanBatch batch(int64_t step) const;

 private:
  const data::Dataset& dataset_;
  Target target_;
  ImageBatches images_;
};

// Indices of the images of one class. Throws Error when there are none, or no labels.
std::vector<int64_t> images_of_class(const data::Dataset& dataset, int64_t label);

}  // namespace diffscm
