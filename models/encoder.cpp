#include "models/encoder.h"

namespace diffscm {

Encoder::Encoder(const EncoderConfig& config, int64_t outputs, const char* who, uint64_t seed)
    : Encoder(config, outputs, who, Initializer(seed)) {}

Encoder::Encoder(const EncoderConfig& config, int64_t outputs, const char* who, Initializer init)
    : who_(who),
      image_size_(config.image_size),
      in_channels_(config.in_channels),
      time_embed_(config.model_channels, init) {
  const int64_t base = config.model_channels, emb = 4 * base;
  const size_t levels = config.channel_mult.size();
  const BlockOptions options{emb, config.dropout, config.norm_groups};
  const auto res_block = [&](int64_t in, int64_t out, bool down) {
    return ResBlock(in, out, options, down, init);
  };
  int64_t channels = base * config.channel_mult[0], size = config.image_size;
  stem_ = Conv2d(config.in_channels, channels, 3, init);
  for (size_t level = 0; level < levels; ++level) {
    for (int64_t i = 0; i < config.num_res_blocks; ++i) {
      const int64_t out = base * config.channel_mult[level];
      blocks_.push_back(res_block(channels, out, false));
      channels = out;
    }
    if (level + 1 < levels) {
      blocks_.push_back(res_block(channels, channels, true));
      size /= 2;
    }
  }
  require(channels % config.head_channels == 0,
          "{}: {} channels at the end are not a multiple of head_channels {}", who, channels,
          config.head_channels);
  const int64_t heads = channels / config.head_channels;
  middle_first_.emplace(res_block(channels, channels, false));
  middle_attention_.emplace(channels, heads, config.norm_groups, init);
  middle_last_.emplace(res_block(channels, channels, false));
  out_norm_ = GroupNorm(channels, config.norm_groups);
  pool_.emplace(size * size, channels, heads, outputs, init);
}

Variable Encoder::forward(const Variable& x, const Tensor& t, ForwardContext& context) const {
  require_input(x, image_size_, in_channels_, who_);
  require(t.numel() == x.dim(0), "{} timesteps for {} images", t.numel(), x.dim(0));
  const Variable emb = time_embed_.forward(t);
  Variable h = cast(stem_.forward(x), layers_);
  for (const ResBlock& block : blocks_) h = block.forward(h, {}, emb, context);
  h = middle_first_->forward(h, {}, emb, context);
  h = middle_attention_->forward(h);
  h = middle_last_->forward(h, {}, emb, context);
  return pool_->forward(out_norm_.forward(h, {}, {}, /*silu=*/true));
}

void Encoder::visit(const ParameterVisitor& visitor) {
  time_embed_.visit("time_embed", visitor);
  stem_.visit("input_blocks.0.0", visitor);
  for (size_t i = 0; i < blocks_.size(); ++i)
    blocks_[i].visit(fmt::format("input_blocks.{}.0", i + 1), visitor);
  middle_first_->visit("middle_block.0", visitor);
  middle_attention_->visit("middle_block.1", visitor);
  middle_last_->visit("middle_block.2", visitor);
  out_norm_.visit("out.0", visitor);
  pool_->visit("out.2", visitor);
}

}  // namespace diffscm
