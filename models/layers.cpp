#include "models/layers.h"

#include <cmath>

#include "engine/random.h"

namespace diffscm {
namespace {

double fan_in_bound(int64_t fan_in) {
  return 1 / std::sqrt(static_cast<double>(fan_in));
}

}  // namespace

void require_input(const Variable& x, int64_t image_size, int64_t channels, const char* who) {
  require(x.value().rank() == 4 && x.dim(1) == image_size && x.dim(2) == image_size &&
              x.dim(3) == channels,
          "this {0} expects images [N,{1},{1},{2}], got {3}", who, image_size, channels,
          to_string(x.shape()));
}

Tensor Initializer::uniform(Shape shape, double bound) {
  if (!draws_) return Tensor::of_shape(std::move(shape));
  Tensor t(std::move(shape));
  float* p = t.mutable_data();
  const kernels::RandomKey key{seed_, kernels::Purpose::init, 0};
  const uint64_t stream = next_++;
  for (int64_t i = 0; i < t.numel(); ++i) {
    const uint32_t word = kernels::philox(key, stream, static_cast<uint32_t>(i / 4)).word[i % 4];
    p[i] = static_cast<float>((2 * double{kernels::uniform01(word)} - 1) * bound);
  }
  return t;
}

Tensor Initializer::normal(Shape shape, double stddev) {
  if (!draws_) return Tensor::of_shape(std::move(shape));
  const std::vector<int64_t> stream{static_cast<int64_t>(next_++)};
  Tensor t =
      standard_normal({1, numel(shape)}, {seed_, kernels::Purpose::init, 0}, stream, Target::cpu)
          .reshape(std::move(shape));
  const float scale = static_cast<float>(stddev);
  operators(t.target())
      .linear_combination({t.numel(), scale, t.data(), 0, nullptr, t.mutable_data()});
  return t;
}

Conv2d::Conv2d(int64_t in, int64_t out, int64_t filter, Initializer& init, Conv2dOptions options,
               bool zero)
    : options(options) {
  const double bound = zero ? 0 : fan_in_bound(in * filter * filter);
  weight = {init.uniform({out, filter, filter, in}, bound), FileLayout::oihw};
  bias = {init.uniform({out}, bound)};
}

Variable Conv2d::forward(const Variable& x, const Variable& x1, const Variable& residual) const {
  return conv2d(x, x1, weight.variable, bias.variable, residual, options);
}

Variable Conv2d::forward_as(Dtype result, const Variable& x) const {
  return conv2d(x, {}, weight.variable, bias.variable, {}, options, result);
}

void Conv2d::visit(const std::string& prefix, const ParameterVisitor& visitor) {
  visitor(prefix + ".weight", weight);
  visitor(prefix + ".bias", bias);
}

Linear::Linear(int64_t in, int64_t out, Initializer& init, FileLayout layout, bool zero) {
  const double bound = zero ? 0 : fan_in_bound(in);
  weight = {init.uniform({out, in}, bound), layout};
  bias = {init.uniform({out}, bound)};
}

Variable Linear::forward(const Variable& x, const Variable& residual) const {
  return linear(x, weight.variable, bias.variable, residual);
}

void Linear::visit(const std::string& prefix, const ParameterVisitor& visitor) {
  visitor(prefix + ".weight", weight);
  visitor(prefix + ".bias", bias);
}

std::vector<Variable> forward_all(const std::vector<const Linear*>& layers, const Variable& x) {
  std::vector<LinearParameters> parameters;
  for (const Linear* layer : layers)
    parameters.push_back({layer->weight.variable, layer->bias.variable});
  return linear_group(x, parameters);
}

GroupNorm::GroupNorm(int64_t channels, int64_t groups, double eps) : groups(groups), eps(eps) {
  require(channels % groups == 0, "group norm: {} channels are not a multiple of {} groups",
          channels, groups);
  weight = {Tensor::full({channels}, 1)};
  bias = {Tensor::zeros({channels})};
}

Variable GroupNorm::forward(const Variable& x, const Variable& x1, const Variable& scale_shift,
                            bool silu, const kernels::Dropout& dropout) const {
  return group_norm(
      x, x1, weight.variable, bias.variable, scale_shift,
      {.groups = groups, .eps = static_cast<float>(eps), .silu = silu, .dropout = dropout});
}

PooledNorm GroupNorm::forward_pooled(const Variable& x) const {
  return pooled_group_norm(x, weight.variable, bias.variable,
                           {.groups = groups, .eps = static_cast<float>(eps), .silu = true});
}

void GroupNorm::visit(const std::string& prefix, const ParameterVisitor& visitor) {
  visitor(prefix + ".weight", weight);
  visitor(prefix + ".bias", bias);
}

Variable convolve_normalised(const GroupNorm& norm, const Conv2d& conv, const Variable& x,
                             const Variable& x1, const Variable& scale_shift,
                             const Variable& residual, const kernels::Dropout& dropout,
                             const Shortcut& shortcut) {
  return normalised_conv2d(x, x1, norm.weight.variable, norm.bias.variable, scale_shift,
                           {.groups = norm.groups,
                            .eps = static_cast<float>(norm.eps),
                            .silu = true,
                            .dropout = dropout},
                           conv.weight.variable, conv.bias.variable, residual, conv.options,
                           shortcut);
}

kernels::Dropout ForwardContext::dropout(double rate) {
  if (!training || rate <= 0) return {};
  // Layers differ in the sample word of the counter: layer l owns samples l * 2^32 onwards.
  const int64_t first_sample = static_cast<int64_t>(layer_++ << 32) + first_image;
  return {static_cast<float>(rate), {seed, kernels::Purpose::dropout, step, step_at}, first_sample};
}

}  // namespace diffscm
