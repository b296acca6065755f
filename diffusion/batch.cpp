#include "diffusion/batch.h"

#include <algorithm>
#include <cmath>

namespace diffscm {

namespace {

int64_t image_size(const Tensor& x) {
  return x.numel() / x.dim(0);
}

}  // namespace

void require_batch(const Tensor& x, const char* what) {
  require(static_cast<bool>(x), "{} is an empty tensor: give a batch of images", what);
  require(x.rank() >= 2 && x.numel() > 0 && x.dtype() == Dtype::f32,
          "{} is {} {}: give a non-empty f32 batch [N, H, W, C]", what, name_of(x.dtype()),
          to_string(x.shape()));
}

Tensor combine(double a, const Tensor& x, double b, const Tensor& z) {
  Tensor y(x.shape(), x.target());
  operators(x.target())
      .linear_combination({.n = x.numel(),
                           .a = static_cast<float>(a),
                           .x = x.data(),
                           .b = static_cast<float>(b),
                           .z = z.data(),
                           .y = y.mutable_data()});
  return y;
}

Tensor combine(std::span<const float> a, const Tensor& x, std::span<const float> b,
               const Tensor& z) {
  Tensor y(x.shape(), x.target());
  const Tensor a_device = Tensor::from(a, {x.dim(0)}, x.target());
  const Tensor b_device = Tensor::from(b, {x.dim(0)}, x.target());
  operators(x.target())
      .combine_samples({.n = x.dim(0),
                        .elements = image_size(x),
                        .a = a_device.data(),
                        .x = x.data(),
                        .b = b_device.data(),
                        .z = z.data(),
                        .y = y.mutable_data()});
  return y;
}

std::vector<std::vector<double>> sample_dots(std::span<const TensorPair> pairs) {
  if (pairs.empty()) return {};
  const Tensor& first = pairs.front().first;
  const int64_t n = first.dim(0);
  Tensor dots({static_cast<int64_t>(pairs.size()), n}, first.target());
  float* out = dots.mutable_data();
  for (const auto& [x, z] : pairs) {
    operators(x.target())
        .sample_dot({.n = n, .elements = image_size(x), .x = x.data(), .z = z.data(), .y = out});
    out += n;
  }
  const std::vector<float> flat = dots.to_vector();
  std::vector<std::vector<double>> result(pairs.size());
  for (size_t k = 0; k < pairs.size(); ++k) {
    const auto begin = flat.begin() + static_cast<int64_t>(k) * n;
    result[k].assign(begin, begin + n);
  }
  return result;
}

namespace {

// Calls copy(i, row, count) for each run of consecutive rows: few large copies instead of many.
template <class Copy>
void for_each_run(std::span<const int64_t> rows, Copy&& copy) {
  for (size_t i = 0; i < rows.size();) {
    size_t end = i + 1;
    while (end < rows.size() && rows[end] == rows[end - 1] + 1) ++end;
    copy(static_cast<int64_t>(i), rows[i], static_cast<int64_t>(end - i));
    i = end;
  }
}

}  // namespace

Tensor gather(const Tensor& x, const Tensor& rows) {
  Shape shape = x.shape();
  shape[0] = rows.numel();
  Tensor y(shape, x.target());
  operators(x.target())
      .gather_rows({.n = rows.numel(),
                    .elements = x.numel() / std::max<int64_t>(1, x.dim(0)),
                    .rows_of_x = x.dim(0),
                    .x = x.data(),
                    .rows = rows.data<int64_t>(),
                    .y = y.mutable_data()});
  return y;
}

Tensor gather(const Tensor& x, std::span<const int64_t> rows) {
  const auto n = static_cast<int64_t>(rows.size());
  if (x.dtype() == Dtype::f32) return gather(x, Tensor::from(rows, {n}, x.target()));
  Shape shape = x.shape();
  shape[0] = n;
  Tensor y(shape, x.target(), x.dtype());
  for_each_run(rows, [&](int64_t i, int64_t row, int64_t count) {
    y.slice(i, i + count).copy_from(x.slice(row, row + count));
  });
  return y;
}

std::vector<double> l1_grey_levels(const Tensor& a, const Tensor& b) {
  const std::vector<float> x = a.to_vector(), y = b.to_vector();
  const size_t n = static_cast<size_t>(a.dim(0)), elements = x.size() / n;
  std::vector<double> result(n, 0);
  for (size_t i = 0; i < x.size(); ++i)
    result[i / elements] +=
        std::abs(double{x[i]} - double{y[i]}) * kGreyLevels / static_cast<double>(elements);
  return result;
}

double l1_grey_levels(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(double{a[i]} - double{b[i]});
  return kGreyLevels * sum / static_cast<double>(a.size());
}

Tensor clamp_to_image(const Tensor& x) {
  std::vector<float> values = x.to_vector();
  for (float& v : values) v = std::clamp(v, -1.0f, 1.0f);
  return Tensor::from(values, x.shape(), x.target());
}

Tensor shrink_change(const Tensor& was, const Tensor& is, double least) {
  require(was.shape() == is.shape() && least >= 0, "a change from {} to {}, of {} grey levels",
          to_string(was.shape()), to_string(is.shape()), least);
  const std::vector<float> before = was.to_vector();
  std::vector<float> after = is.to_vector();
  const auto channels = static_cast<size_t>(is.dim(is.rank() - 1));
  for (size_t i = 0; i < after.size(); i += channels) {
    double change = 0;
    for (size_t c = i; c < i + channels; ++c)
      change = std::max(change, std::abs(double{after[c]} - double{before[c]}) * kGreyLevels);
    if (change >= 2 * least) continue;
    const auto share = static_cast<float>(std::max(change / least - 1, 0.0));
    for (size_t c = i; c < i + channels; ++c) after[c] = before[c] + share * (after[c] - before[c]);
  }
  return Tensor::from(after, is.shape(), is.target());
}

Tensor concatenate(std::span<const Tensor> batches, Target target) {
  require(!batches.empty(), "nothing to concatenate");
  Shape shape = batches[0].shape();
  shape[0] = 0;
  for (const Tensor& b : batches) shape[0] += b.dim(0);
  Tensor all(shape, target, batches[0].dtype());
  int64_t row = 0;
  for (const Tensor& b : batches) {
    all.slice(row, row + b.dim(0)).copy_from(b);
    row += b.dim(0);
  }
  return all;
}

}  // namespace diffscm
