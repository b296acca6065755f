#include "models/classifier.h"

namespace diffscm {

Classifier::Classifier(const ClassifierConfig& config, uint64_t seed)
    : Classifier(config, Initializer(seed)) {}

Classifier::Classifier(const ClassifierConfig& config, Initializer init)
    : config_(config), time_embed_(config.model_channels, init) {
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
          "classifier: {} channels at the end are not a multiple of head_channels {}", channels,
          config.head_channels);
  const int64_t heads = channels / config.head_channels;
  middle_first_.emplace(res_block(channels, channels, false));
  middle_attention_.emplace(channels, heads, config.norm_groups, init);
  middle_last_.emplace(res_block(channels, channels, false));
  out_norm_ = GroupNorm(channels, config.norm_groups);
  pool_.emplace(size * size, channels, heads, config.classes, init);
}

Variable Classifier::forward(const Variable& x, const Tensor& t, ForwardContext& context) const {
  require_input(x, config_.image_size, config_.in_channels, "classifier");
  require(t.numel() == x.dim(0), "{} timesteps for {} images", t.numel(), x.dim(0));
  const Variable emb = time_embed_.forward(t);
  Variable h = cast(stem_.forward(x), layers_);
  for (const ResBlock& block : blocks_) h = block.forward(h, {}, emb, context);
  h = middle_first_->forward(h, {}, emb, context);
  h = middle_attention_->forward(h);
  h = middle_last_->forward(h, {}, emb, context);
  return pool_->forward(out_norm_.forward(h, {}, {}, /*silu=*/true));
}

ClassProbabilities Classifier::probabilities(const Tensor& x, double t) const {
  const NoGrad no_grad;
  ForwardContext context;
  return softmax(
      forward(x, Tensor::full({x.dim(0)}, static_cast<float>(t), x.target()), context).value());
}

Tensor Classifier::log_p_gradient(const Tensor& x, double t,
                                  const std::vector<int64_t>& labels) const {
  require(x.rank() > 0 && static_cast<int64_t>(labels.size()) == x.dim(0),
          "{} labels for images {}", labels.size(), to_string(x.shape()));
  require_labels(labels, config_.classes);
  return log_p_gradient(x, Tensor::full({x.dim(0)}, static_cast<float>(t), x.target()),
                        Tensor::from(labels, {x.dim(0)}, x.target()));
}

Tensor Classifier::log_p_gradient(const Tensor& x, const Tensor& t, const Tensor& labels) const {
  ForwardContext context;
  const Variable input = Variable::leaf(x);
  const Variable log_p = log_softmax_at(forward(input, t, context), labels);
  backward(log_p, Tensor::constant({x.dim(0)}, 1, x.target()));
  return input.gradient();
}

void Classifier::visit(const ParameterVisitor& visitor) {
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
