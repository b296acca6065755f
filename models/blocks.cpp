#include "models/blocks.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "autograd/dispatch.h"

namespace diffscm {

ResBlock::ResBlock(int64_t in, int64_t out, const BlockOptions& options, Resample resample,
                   Initializer& init)
    : in_norm(in, options.norm_groups, options.norm_eps),
      out_norm(out, options.norm_groups, options.norm_eps),
      in_conv(in, out, 3, init, {.upsample = resample == Resample::up}),
      out_conv(out, out, 3, init, {}, /*zero=*/true),
      emb(options.emb_channels, options.scale_shift ? 2 * out : out, init),
      resample(resample),
      scale_shift(options.scale_shift),
      dropout(options.dropout) {
  if (in != out) skip.emplace(in, out, 1, init);
}

Variable ResBlock::forward(const Variable& x, const Variable& x1, const Variable& told,
                           ForwardContext& context) const {
  Variable h, around = x;
  if (resample == Resample::down) {
    PooledNorm halved = in_norm.forward_pooled(x);
    h = in_conv.forward(halved.normalised);
    around = std::move(halved.x);
  } else {
    h = convolve_normalised(in_norm, in_conv, x, x1);
    if (resample == Resample::up) around = upsample(x);
  }
  if (!scale_shift) h = add_to_pixels(h, told);
  const Shortcut shortcut =
      skip ? Shortcut{around, x1, skip->weight.variable, skip->bias.variable} : Shortcut();
  return convolve_normalised(out_norm, out_conv, h, {}, scale_shift ? told : Variable(),
                             skip ? Variable() : around, context.dropout(dropout), shortcut);
}

void ResBlock::visit(const std::string& prefix, const ParameterVisitor& visitor) {
  in_norm.visit(prefix + ".in_layers.0", visitor);
  in_conv.visit(prefix + ".in_layers.2", visitor);
  emb.visit(prefix + ".emb_layers.1", visitor);
  out_norm.visit(prefix + ".out_layers.0", visitor);
  out_conv.visit(prefix + ".out_layers.3", visitor);
  if (skip) skip->visit(prefix + ".skip_connection", visitor);
}

AttentionBlock::AttentionBlock(int64_t channels, int64_t heads, const BlockOptions& options,
                               Initializer& init)
    : norm(channels, options.norm_groups, options.norm_eps),
      qkv(channels, 3 * channels, init, FileLayout::conv1d),
      proj_out(channels, channels, init, FileLayout::conv1d, /*zero=*/true),
      heads(heads) {}

Variable AttentionBlock::forward(const Variable& x) const {
  const int64_t tokens = x.dim(1) * x.dim(2);
  const Shape sequence{x.dim(0), tokens, x.dim(3)};
  const Variable h = attention(qkv.forward(reshape(norm.forward(x), sequence)), heads,
                               kernels::QkvLayout::per_head, tokens);
  return reshape(proj_out.forward(h, reshape(x, sequence)), x.shape());
}

void AttentionBlock::visit(const std::string& prefix, const ParameterVisitor& visitor) {
  norm.visit(prefix + ".norm", visitor);
  qkv.visit(prefix + ".qkv", visitor);
  proj_out.visit(prefix + ".proj_out", visitor);
}

AttentionPool::AttentionPool(int64_t pixels, int64_t channels, int64_t heads, int64_t out,
                             Initializer& init)
    : position{init.normal({pixels + 1, channels}, 1 / std::sqrt(static_cast<double>(channels))),
               FileLayout::transposed},
      qkv_proj(channels, 3 * channels, init, FileLayout::conv1d),
      c_proj(channels, out, init, FileLayout::conv1d),
      heads(heads) {}

Variable AttentionPool::forward(const Variable& x) const {
  const Variable tokens = pool_tokens(x, position.variable);
  const Variable pooled =
      attention(qkv_proj.forward(tokens), heads, kernels::QkvLayout::chunked, /*queries=*/1);
  return reshape(c_proj.forward(cast(pooled, Dtype::f32)),
                 {x.dim(0), c_proj.weight.variable.dim(0)});
}

void AttentionPool::visit(const std::string& prefix, const ParameterVisitor& visitor) {
  visitor(prefix + ".positional_embedding", position);
  qkv_proj.visit(prefix + ".qkv_proj", visitor);
  c_proj.visit(prefix + ".c_proj", visitor);
}

TimeEmbedding::TimeEmbedding(int64_t channels, bool last_frequency, Initializer& init)
    : first(channels, 4 * channels, init),
      second(4 * channels, 4 * channels, init),
      channels(channels),
      last_frequency(last_frequency) {}

Variable TimeEmbedding::forward(const Tensor& t, const Variable& more) const {
  const Tensor embedding = timestep_embedding(t, channels, last_frequency);
  return silu(second.forward(silu(first.forward(embedding)), more));
}

std::vector<Variable> TimeEmbedding::tell(const Tensor& t, const Variable& more,
                                          const std::vector<const Linear*>& layers) const {
  const auto learns = [](const Linear* layer) {
    return layer->weight.variable.needs_gradient() || layer->bias.variable.needs_gradient();
  };
  const bool any = learns(&first) || learns(&second) || more.needs_gradient() ||
                   std::any_of(layers.begin(), layers.end(), learns);
  if ((recording() && any) || first.weight.variable.dim(0) > kMostInOneOperator)
    return forward_all(layers, forward(t, more));
  std::vector<Variable> told;
  std::vector<kernels::LinearGroupArgs::Layer> group;
  for (const Linear* layer : layers) {
    const int64_t out = layer->weight.variable.dim(0);
    Tensor y({t.numel(), out}, t.target());
    group.push_back({.out = out,
                     .weight = layer->weight.variable.value().data(),
                     .bias = layer->bias.variable.value().data(),
                     .y = y.mutable_data(),
                     .ldy = out});
    told.emplace_back(std::move(y));
  }
  run(t.target(), projections(t, more.value(), group));
  return told;
}

kernels::TimeProjectionsArgs TimeEmbedding::projections(
    const Tensor& t, const Tensor& more,
    std::span<const kernels::LinearGroupArgs::Layer> layers) const {
  return {.n = t.numel(),
          .channels = channels,
          .hidden = first.weight.variable.dim(0),
          .last_frequency = last_frequency,
          .t = t.data(),
          .weight1 = first.weight.variable.value().data(),
          .bias1 = first.bias.variable.value().data(),
          .weight2 = second.weight.variable.value().data(),
          .bias2 = second.bias.variable.value().data(),
          .more = data_or_null(more),
          .count = std::ssize(layers),
          .layers = layers.data()};
}

void TimeEmbedding::visit(const std::string& prefix, const ParameterVisitor& visitor) {
  first.visit(prefix + ".0", visitor);
  second.visit(prefix + ".2", visitor);
}

}  // namespace diffscm
