#include "evaluation/scm/image_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "evaluation/metrics/fits_images.h"
#include "kernels/error.h"

namespace diffscm {
namespace {

constexpr int64_t kBatch = 200;

}  // namespace

void SeenImages::append(const SeenImages& more) {
  latent.mean.append(more.latent.mean);
  latent.log_variance.append(more.latent.log_variance);
  features.append(more.features);
}

SeenImages ImageJudges::see(const Tensor& images) const {
  const NoGrad no_grad;
  SeenImages all;
  in_batches(images.dim(0), kBatch, [&](int64_t begin, int64_t end) {
    const Tensor x = images.slice(begin, end).to(target);
    SeenImages seen;
    if (vae != nullptr) seen.latent = posteriors(*vae, x);
    if (oracle != nullptr) seen.features = to_matrix(oracle->features(x).value());
    all.append(seen);
  });
  return all;
}

ImageReference::ImageReference(const causal::Graph& graph, const data::Dataset& dataset,
                               const ImageJudges& judges)
    : graph_(graph), judges_(judges) {
  if (judges.vae != nullptr) require_fits_images(judges.vae->config(), dataset, "the VAE");
  if (judges.oracle != nullptr) require_fits_images(judges.oracle->config(), dataset, "the oracle");
  std::vector<int64_t> all(static_cast<size_t>(std::min(dataset.size(), kMost)));
  std::iota(all.begin(), all.end(), int64_t{0});
  const causal::DatasetNodes nodes(graph, dataset);
  image_ = nodes.image();
  values_ = nodes.values(all);
  for (size_t i = 0; i < graph.size(); ++i) {
    double mean = 0, square = 0;
    for (const double x : values_[i].numbers) mean += x / static_cast<double>(all.size());
    for (const double x : values_[i].numbers) square += (x - mean) * (x - mean);
    scale_.push_back(std::sqrt(square / static_cast<double>(all.size())) + 1e-12);
  }
  seen_ = judges.see(values_[image_].images);
  if (seen_.features.rows > 1) look_ = moments(seen_.features);
}

double ImageReference::realism(const Matrix& features) const {
  if (features.rows < 2 || look_.mean.empty()) return std::numeric_limits<double>::quiet_NaN();
  return frechet_distance(features, look_);
}

std::span<const float> ImageReference::nearest(const causal::NodeValues& wanted,
                                               int64_t row) const {
  constexpr double kOtherState = 100;
  const Tensor& images = values_[image_].images;
  double least = std::numeric_limits<double>::infinity();
  int64_t best = 0;
  for (int64_t r = 0; r < images.dim(0); ++r) {
    double distance = 0;
    for (size_t i = 0; i < graph_.size(); ++i) {
      if (values_[i].numbers.empty()) continue;
      const double a = values_[i].numbers[static_cast<size_t>(r)],
                   b = wanted[i].numbers[static_cast<size_t>(row)];
      distance +=
          graph_[i].is_discrete() ? kOtherState * (a != b) : std::pow((a - b) / scale_[i], 2);
    }
    if (distance < least) {
      least = distance;
      best = r;
    }
  }
  const int64_t pixels = images.numel() / images.dim(0);
  return {images.data() + best * pixels, static_cast<size_t>(pixels)};
}

std::vector<size_t> ImageReference::members(size_t node, double value) const {
  const std::vector<double>& numbers = values_[node].numbers;
  std::vector<size_t> rows(numbers.size());
  std::iota(rows.begin(), rows.end(), size_t{0});
  if (graph_[node].is_discrete()) {
    std::erase_if(rows, [&](size_t r) { return numbers[r] != value; });
    return rows;
  }
  const size_t tenth = std::max<size_t>(1, rows.size() / 10);
  std::ranges::nth_element(rows, rows.begin() + static_cast<std::ptrdiff_t>(tenth) - 1, {},
                           [&](size_t r) { return std::abs(numbers[r] - value); });
  rows.resize(tenth);
  return rows;
}

}  // namespace diffscm
