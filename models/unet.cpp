#include "models/unet.h"

#include <algorithm>

namespace diffscm {
namespace {

bool contains(const std::vector<int64_t>& values, int64_t value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// guided-diffusion's name and shape for its one kind of condition, a class.
const char* embedding_name(std::span<const Condition> conditions) {
  return conditions.size() == 1 && conditions[0].is_category() ? "label_emb.weight"
                                                               : "condition_emb.weight";
}

}  // namespace

void teach_conditions(NamedTensors& state, std::span<const Condition> from,
                      std::span<const Condition> to) {
  Tensor known;
  if (const auto found = state.find(embedding_name(from)); !from.empty() && found != state.end()) {
    known = found->second;
    state.erase(found);
  }
  const auto stem = state.find("time_embed.2.bias");
  if (to.empty() || stem == state.end()) return;
  const int64_t width = stem->second.numel();
  Tensor taught = Tensor::zeros({feature_count(to), width});
  int64_t row = 0;
  for (const Condition& c : to) {
    int64_t from_row = 0;
    for (const Condition& f : from) {
      if (f.name == c.name && known) {
        require(f.classes == c.classes, "the model to start from was told another kind of '{}'",
                c.name);
        std::copy_n(known.data() + from_row * width, c.features() * width,
                    taught.mutable_data() + row * width);
      }
      from_row += f.features();
    }
    row += c.features();
  }
  state.emplace(embedding_name(to), taught);
}

UNet::UNet(const UNetConfig& config, uint64_t seed) : UNet(config, Initializer(seed)) {}

UNet::UNet(const UNetConfig& config, Initializer init)
    : config_(config), time_embed_(config.model_channels, init) {
  const int64_t base = config.model_channels, emb = 4 * base;
  const int64_t levels = static_cast<int64_t>(config.channel_mult.size());
  const BlockOptions options{emb, config.dropout, config.norm_groups};
  const auto res_block = [&](int64_t in, int64_t out) {
    return ResBlock(in, out, options, /*down=*/false, init);
  };

  int64_t channels = base * config.channel_mult[0], downsample = 1;
  std::vector<int64_t> skips{channels};
  input_blocks_.emplace_back();
  input_blocks_.back().stem.emplace(config.in_channels, channels, 3, init);
  for (int64_t level = 0; level < levels; ++level) {
    for (int64_t i = 0; i < config.num_res_blocks; ++i) {
      Stage& stage = input_blocks_.emplace_back();
      const int64_t out = base * config.channel_mult[level];
      stage.block.emplace(res_block(channels, out));
      channels = out;
      if (contains(config.attention_downsample, downsample))
        stage.attention.emplace(channels, config.heads, config.norm_groups, init);
      skips.push_back(channels);
    }
    if (level + 1 < levels) {
      input_blocks_.emplace_back().downsample.emplace(channels, channels, 3, init,
                                                      Conv2dOptions{.stride = 2});
      skips.push_back(channels);
      downsample *= 2;
    }
  }

  middle_first_.emplace(res_block(channels, channels));
  middle_attention_.emplace(channels, config.heads, config.norm_groups, init);
  middle_last_.emplace(res_block(channels, channels));

  for (int64_t level = levels - 1; level >= 0; --level) {
    for (int64_t i = 0; i <= config.num_res_blocks; ++i) {
      Stage& stage = output_blocks_.emplace_back();
      const int64_t out = base * config.channel_mult[level];
      stage.block.emplace(res_block(channels + skips.back(), out));
      skips.pop_back();
      channels = out;
      if (contains(config.attention_downsample, downsample))
        stage.attention.emplace(channels, config.heads, config.norm_groups, init);
      if (level > 0 && i == config.num_res_blocks) {
        stage.upsample.emplace(channels, channels, 3, init, Conv2dOptions{.upsample = true});
        downsample /= 2;
      }
    }
  }
  out_norm_ = GroupNorm(channels, config.norm_groups);
  out_conv_ = Conv2d(channels, config.out_channels, 3, init, {}, /*zero=*/true);
  if (!config.conditions.empty())
    condition_embed_ = {init.normal({emb, feature_count(config.conditions)}, 1),
                        FileLayout::transposed};
}

Variable UNet::forward(const Variable& x, const Tensor& t, ForwardContext& context,
                       const Tensor& features) const {
  require(x.value().rank() == 4 && x.dim(3) == config_.in_channels,
          "this U-Net expects images [N,H,W,{}], got {}", config_.in_channels,
          to_string(x.shape()));
  const int64_t multiple = int64_t{1} << (config_.channel_mult.size() - 1);
  require(x.dim(1) % multiple == 0 && x.dim(2) % multiple == 0,
          "this U-Net needs image sides that are multiples of {}, got {}x{}", multiple, x.dim(1),
          x.dim(2));
  require(t.numel() == x.dim(0), "{} timesteps for {} images", t.numel(), x.dim(0));

  Variable told;
  if (features) {
    require(!config_.conditions.empty(), "this U-Net is unconditional: it cannot be told anything");
    require(features.rank() == 2 && features.dim(0) == x.dim(0) &&
                features.dim(1) == feature_count(config_.conditions),
            "this U-Net expects condition features [{},{}], got {}", x.dim(0),
            feature_count(config_.conditions), to_string(features.shape()));
    told = linear(features, condition_embed_.variable, {});
  }
  const Variable emb = time_embed_.forward(t, told);
  std::vector<Variable> skips;
  Variable h = x;
  for (const Stage& stage : input_blocks_) {
    if (stage.stem) h = cast(stage.stem->forward(h), layers_);
    if (stage.block) h = stage.block->forward(h, {}, emb, context);
    if (stage.attention) h = stage.attention->forward(h);
    if (stage.downsample) h = stage.downsample->forward(h);
    skips.push_back(h);
  }
  h = middle_first_->forward(h, {}, emb, context);
  h = middle_attention_->forward(h);
  h = middle_last_->forward(h, {}, emb, context);
  for (const Stage& stage : output_blocks_) {
    h = stage.block->forward(h, skips.back(), emb, context);
    skips.pop_back();
    if (stage.attention) h = stage.attention->forward(h);
    if (stage.upsample) h = stage.upsample->forward(h);
  }
  return out_conv_.forward(cast(out_norm_.forward(h, {}, {}, /*silu=*/true), Dtype::f32));
}

Tensor UNet::predict(const Tensor& x, const Tensor& t, const Tensor& features) const {
  const NoGrad no_grad;
  ForwardContext context;
  return forward(x, t, context, features).value();
}

Tensor UNet::predict(const Tensor& x, double t) const {
  require(x.rank() > 0, "this U-Net expects images [N,H,W,C], got {}", to_string(x.shape()));
  return predict(x, Tensor::full({x.dim(0)}, static_cast<float>(t), x.target()));
}

void UNet::visit(const ParameterVisitor& visitor) {
  time_embed_.visit("time_embed", visitor);
  if (!config_.conditions.empty()) visitor(embedding_name(config_.conditions), condition_embed_);
  const auto visit_stages = [&](const char* name, std::vector<Stage>& stages) {
    for (size_t i = 0; i < stages.size(); ++i) {
      int part = 0;  // torch's nn.Sequential numbers what is present
      const auto prefix = [&](const char* suffix) {
        return fmt::format("{}.{}.{}{}", name, i, part++, suffix);
      };
      Stage& stage = stages[i];
      if (stage.stem) stage.stem->visit(prefix(""), visitor);
      if (stage.block) stage.block->visit(prefix(""), visitor);
      if (stage.attention) stage.attention->visit(prefix(""), visitor);
      if (stage.downsample) stage.downsample->visit(prefix(".op"), visitor);
      if (stage.upsample) stage.upsample->visit(prefix(".conv"), visitor);
    }
  };
  visit_stages("input_blocks", input_blocks_);
  middle_first_->visit("middle_block.0", visitor);
  middle_attention_->visit("middle_block.1", visitor);
  middle_last_->visit("middle_block.2", visitor);
  visit_stages("output_blocks", output_blocks_);
  out_norm_.visit("out.0", visitor);
  out_conv_.visit("out.2", visitor);
}

}  // namespace diffscm
