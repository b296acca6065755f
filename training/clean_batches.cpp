#include "training/clean_batches.h"

#include <numeric>

namespace diffscm {
namespace {

std::vector<int64_t> all_if_empty(std::vector<int64_t> rows, int64_t size) {
  if (rows.empty()) {
    rows.resize(static_cast<size_t>(size));
    std::iota(rows.begin(), rows.end(), 0);
  }
  return rows;
}

}  // namespace

CleanBatches::CleanBatches(const data::Dataset& dataset, std::vector<int64_t> rows, int64_t batch,
                           uint64_t seed, Target target)
    : dataset_(dataset),
      rows_(all_if_empty(std::move(rows), dataset.size())),
      batch_(batch),
      target_(target),
      order_(static_cast<int64_t>(rows_.size()), seed) {
  require(batch >= 1, "batch {} must be at least 1", batch);
  require(!rows_.empty(), "data set {} is empty", dataset.name);
}

CleanBatch CleanBatches::batch(int64_t step) const {
  CleanBatch b;
  for (int64_t i = 0; i < batch_; ++i)
    b.index.push_back(rows_[static_cast<size_t>(order_.at(step * batch_ + i))]);
  if (!dataset_.labels.empty()) b.labels = dataset_.labels_of(b.index);
  b.x = dataset_.images(b.index).to(target_);
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
