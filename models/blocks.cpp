#include "models/blocks.h"

#include <cmath>
#include <utility>

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

namespace {

// [N] -> [N, channels]: the angles are made here, and of each the operator's two-channel embedding.
Tensor embedding_with_last_frequency(const Tensor& t, int64_t channels) {
  const int64_t n = t.numel(), half = channels / 2;
  const Target target = t.target();
  const std::string key = fmt::format("{} frequencies for {} timesteps", half, n);
  const Tensor frequencies = Tensor::constant({1}, 0, target).derived(key, [&] {
    std::vector<float> f;
    for (int64_t i = 0; i < n * half; ++i)
      f.push_back(static_cast<float>(std::exp(-std::log(10000.0) * static_cast<double>(i % half) /
                                              static_cast<double>(half - 1))));
    return Tensor::from(f, {n, half}, target);
  });
  Tensor angles({n * half}, target);
  operators(target).combine_samples(
      {n, half, t.data(), frequencies.data(), nullptr, nullptr, angles.mutable_data()});
  return timestep_embedding(angles, 2).reshape({n, channels});
}

}  // namespace

TimeEmbedding::TimeEmbedding(int64_t channels, bool last_frequency, Initializer& init)
    : first(channels, 4 * channels, init),
      second(4 * channels, 4 * channels, init),
      channels(channels),
      last_frequency(last_frequency) {}

Variable TimeEmbedding::forward(const Tensor& t, const Variable& more) const {
  const Tensor embedding =
      last_frequency ? embedding_with_last_frequency(t, channels) : timestep_embedding(t, channels);
  return silu(second.forward(silu(first.forward(embedding)), more));
}

void TimeEmbedding::visit(const std::string& prefix, const ParameterVisitor& visitor) {
  first.visit(prefix + ".0", visitor);
  second.visit(prefix + ".2", visitor);
}

}  // namespace diffscm
