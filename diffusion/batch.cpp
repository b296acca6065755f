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

namespace {

Tensor checked(Tensor answer, const Tensor& x, const char* who) {
  require(answer && answer.shape() == x.shape(), "{} answered {} for images {}", who,
          answer ? to_string(answer.shape()) : "nothing", to_string(x.shape()));
  return answer;
}

constexpr const char* kNoiseModel = "the noise model";
constexpr const char* kGuidance = "the guidance gradient";

}  // namespace

Tensor predict_noise(const EpsilonModel& epsilon, const Tensor& x, int timestep) {
  return checked(epsilon(x, timestep), x, kNoiseModel);
}
Tensor predict_noise(const EpsilonModel& epsilon, const Tensor& x, const Tensor& t) {
  return checked(epsilon(x, t), x, kNoiseModel);
}
Tensor guidance_at(const GuidanceGradient& gradient, const Tensor& x, int timestep) {
  return checked(gradient(x, timestep), x, kGuidance);
}
Tensor guidance_at(const GuidanceGradient& gradient, const Tensor& x, const Tensor& t) {
  return checked(gradient(x, t), x, kGuidance);
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
      .add_noise({.n = x.dim(0),
                  .elements = image_size(x),
                  .a = a_device.data(),
                  .b = b_device.data(),
                  .x = x.data(),
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

Tensor gather(const Tensor& x, std::span<const int64_t> rows) {
  Shape shape = x.shape();
  shape[0] = static_cast<int64_t>(rows.size());
  Tensor y(shape, x.target());
  for_each_run(rows, [&](int64_t i, int64_t row, int64_t count) {
    y.slice(i, i + count).copy_from(x.slice(row, row + count));
  });
  return y;
}

void scatter(const Tensor& x, std::span<const int64_t> rows, Tensor& into) {
  for_each_run(rows, [&](int64_t i, int64_t row, int64_t count) {
    into.slice(row, row + count).copy_from(x.slice(i, i + count));
  });
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

Tensor clamp_to_image(const Tensor& x) {
  std::vector<float> values = x.to_vector();
  for (float& v : values) v = std::clamp(v, -1.0f, 1.0f);
  return Tensor::from(values, x.shape(), x.target());
}

Tensor concatenate(const std::vector<Tensor>& batches) {
  std::vector<float> all;
  Shape shape = batches.at(0).shape();
  shape[0] = 0;
  for (const Tensor& b : batches) {
    const std::vector<float> values = b.to_vector();
    all.insert(all.end(), values.begin(), values.end());
    shape[0] += b.dim(0);
  }
  return Tensor::from(all, shape);
}

Tensor transfer(const Chain& chain, int from, int to, const Tensor& x, const Tensor& eps) {
  const double a = chain.alpha_bar(from), b = chain.alpha_bar(to);
  return combine(std::sqrt(b / a), x, std::sqrt(1 - b) - std::sqrt(b * (1 - a) / a), eps);
}

}  // namespace diffscm
