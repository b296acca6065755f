#include "training/clean_batches.h"

namespace diffscm {

CleanBatches::CleanBatches(const data::Dataset& dataset, std::vector<int64_t> rows, int64_t batch,
                           uint64_t seed, Target target)
    : dataset_(dataset), target_(target), images_(dataset, std::move(rows), batch, seed) {}

CleanBatch CleanBatches::batch(int64_t step) const {
  CleanBatch b;
  b.index = images_.index(step);
  if (!dataset_.labels.empty()) b.labels = dataset_.labels_of(b.index);
  b.x = images_.images(step).to(target_);
  return b;
}

std::vector<Tensor> CleanBatch::with_labels() const {
  return {x, Tensor::from(labels, {x.dim(0)}, x.target())};
}

std::vector<int64_t> images_of_class(const data::Dataset& dataset, int64_t label) {
  require(!dataset.labels.empty(), "data set {} has no labels", dataset.name);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < dataset.size(); ++i)
    if (dataset.labels[static_cast<size_t>(i)] == label) rows.push_back(i);
  require(!rows.empty(), "data set {} has no image of class {}", dataset.name, label);
  return rows;
}

}  // namespace diffscm
