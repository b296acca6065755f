#include "evaluation/metrics/interpretability.h"

#include <cmath>

namespace diffscm {
namespace {

constexpr double kGuard = 1e-7;
constexpr int64_t kBatch = 200;

double mean_squared_error(std::span<const double> a, std::span<const double> b) {
  require(a.size() == b.size() && !a.empty(), "IM1, IM2: images of {} and {} pixels", a.size(),
          b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

// What the autoencoder of its own class makes of each image: one pass per class present, over the
// images of that class.
Matrix by_class(const Autoencoders& autoencoders, const Tensor& u,
                std::span<const int64_t> labels) {
  Matrix result(u.dim(0), u.numel() / u.dim(0));
  for (int64_t label = 0; label < autoencoders.config().classes; ++label) {
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < u.dim(0); ++i)
      if (labels[static_cast<size_t>(i)] == label) rows.push_back(i);
    if (rows.empty()) continue;
    Shape shape = u.shape();
    shape[0] = static_cast<int64_t>(rows.size());
    Tensor some(shape, u.target());
    for (size_t i = 0; i < rows.size(); ++i)
      some.slice(static_cast<int64_t>(i), static_cast<int64_t>(i) + 1)
          .copy_from(u.slice(rows[i], rows[i] + 1));
    const Matrix made = to_matrix(autoencoders.of_class(label).forward(some).value());
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto row = made.row(static_cast<int64_t>(i));
      std::copy(row.begin(), row.end(), result.values.begin() + rows[i] * result.columns);
    }
  }
  return result;
}

}  // namespace

Interpretability interpretability(std::span<const double> u, std::span<const double> by_target,
                                  std::span<const double> by_factual,
                                  std::span<const double> by_all) {
  double l1 = 0;
  for (const double v : u) l1 += std::abs(v);
  l1 /= static_cast<double>(u.size());
  return {mean_squared_error(u, by_target) / (mean_squared_error(u, by_factual) + kGuard),
          mean_squared_error(by_target, by_all) / (l1 + kGuard)};
}

std::vector<Interpretability> interpretability(const Autoencoders& autoencoders,
                                               const Tensor& images,
                                               std::span<const int64_t> factual_class,
                                               std::span<const int64_t> target_class) {
  const NoGrad no_grad;
  require_images(images, "IM1, IM2");
  const AutoencodersConfig& config = autoencoders.config();
  require(images.dim(1) == config.image_size && images.dim(2) == config.image_size &&
              images.dim(3) == config.in_channels,
          "these autoencoders expect images [N,{0},{0},{1}], got {2}", config.image_size,
          config.in_channels, to_string(images.shape()));
  const int64_t n = images.dim(0);
  require_classes(factual_class, n, config.classes, "factual classes");
  require_classes(target_class, n, config.classes, "target classes");
  std::vector<Interpretability> result;
  in_batches(n, kBatch, [&](int64_t begin, int64_t end) {
    const auto first = static_cast<size_t>(begin), count = static_cast<size_t>(end - begin);
    const Tensor u = to_unit_range(images.slice(begin, end));
    const Matrix pixels = to_matrix(u),
                 by_target = by_class(autoencoders, u, target_class.subspan(first, count)),
                 by_factual = by_class(autoencoders, u, factual_class.subspan(first, count)),
                 by_all = to_matrix(autoencoders.of_all().forward(u).value());
    for (int64_t i = 0; i < end - begin; ++i)
      result.push_back(
          interpretability(pixels.row(i), by_target.row(i), by_factual.row(i), by_all.row(i)));
  });
  return result;
}

}  // namespace diffscm
