#include "models/encoder.h"

#include <numeric>

namespace diffscm {
namespace {

constexpr const char* kPools[] = {"attention", "adaptive", "spatial", "spatial_v2"};
constexpr int64_t kHidden = 2048;  // of the spatial pools

}  // namespace

const char* name_of(Pool pool) {
  return kPools[static_cast<int>(pool)];
}

Pool parse_pool(const std::string& name) {
  for (const Pool pool : {Pool::attention, Pool::adaptive, Pool::spatial, Pool::spatial_v2})
    if (name == name_of(pool)) return pool;
  fail("unknown pool '{}': choose attention, adaptive, spatial or spatial_v2", name);
}

Encoder::Encoder(const EncoderConfig& config, int64_t outputs, const char* who, Initializer init)
    : who_(who),
      image_size_(config.image_size),
      in_channels_(config.in_channels),
      pool_kind_(config.pool),
      trunk_(config, init) {
  const int64_t channels = trunk_.channels().back();
  if (is_spatial()) {
    const int64_t features =
        std::accumulate(trunk_.channels().begin(), trunk_.channels().end(), channels);
    hidden_ = Linear(features, kHidden, init);
    if (pool_kind_ == Pool::spatial_v2) out_norm_ = GroupNorm(kHidden, config.norm_groups);
    last_ = Linear(kHidden, outputs, init);
    return;
  }
  out_norm_ = GroupNorm(channels, config.norm_groups);
  if (pool_kind_ == Pool::adaptive) {
    last_ = Linear(channels, outputs, init, FileLayout::conv1x1, /*zero=*/true);
    return;
  }
  require(config.head_channels > 0 && channels % config.head_channels == 0,
          "{}: {} channels at the end are not a multiple of head_channels {}", who, channels,
          config.head_channels);
  attention_.emplace(config.last_size() * config.last_size(), channels,
                     channels / config.head_channels, outputs, init);
}

Variable Encoder::forward(const Variable& x, const Tensor& t, ForwardContext& context) const {
  require_input(x, image_size_, in_channels_, who_);
  require(t.numel() == x.dim(0), "{} timesteps for {} images", t.numel(), x.dim(0));
  std::vector<const Linear*> projections;
  trunk_.list_projections(projections);
  const std::vector<Variable> blocks_told = trunk_.time_embedding().tell(t, {}, projections);
  std::span<const Variable> told = blocks_told;
  if (is_spatial()) {
    std::vector<Variable> means;
    const Variable middle = trunk_.forward(x, told, layers_, context, [&](const Variable& result) {
      means.push_back(mean_over_pixels({result}));
    });
    means.push_back(mean_over_pixels({middle}));
    const Variable h = hidden_.forward(mean_over_pixels(means));  // of one pixel each: side by side
    return last_.forward(pool_kind_ == Pool::spatial ? relu(h)
                                                     : out_norm_.forward(h, {}, {}, /*silu=*/true));
  }
  const Variable h =
      out_norm_.forward(trunk_.forward(x, told, layers_, context), {}, {}, /*silu=*/true);
  if (attention_) return attention_->forward(h);
  return last_.forward(mean_over_pixels({h}));
}

void Encoder::visit(const ParameterVisitor& visitor) {
  trunk_.visit_embedding(visitor);
  trunk_.visit_blocks(visitor);
  switch (pool_kind_) {
    case Pool::attention:
      out_norm_.visit("out.0", visitor);
      attention_->visit("out.2", visitor);
      break;
    case Pool::adaptive:
      out_norm_.visit("out.0", visitor);
      last_.visit("out.3", visitor);
      break;
    case Pool::spatial:
      hidden_.visit("out.0", visitor);
      last_.visit("out.2", visitor);
      break;
    case Pool::spatial_v2:
      hidden_.visit("out.0", visitor);
      out_norm_.visit("out.1", visitor);
      last_.visit("out.3", visitor);
      break;
  }
}

}  // namespace diffscm
