#include "models/trunk.h"

#include <algorithm>

namespace diffscm {

int64_t TrunkConfig::channels_at(int64_t level) const {
  return static_cast<int64_t>(channel_mult[static_cast<size_t>(level)] *
                              static_cast<double>(model_channels));
}

int64_t TrunkConfig::heads_of(int64_t channels) const {
  return head_channels > 0 ? channels / head_channels : heads;
}

bool TrunkConfig::attends_at(int64_t level) const {
  return std::ranges::find(attention_downsample, int64_t{1} << level) != attention_downsample.end();
}

BlockOptions TrunkConfig::block_options() const {
  return {4 * model_channels, dropout, norm_groups, norm_eps, scale_shift};
}

void Stage::list_projections(std::vector<const Linear*>& layers) const {
  for (const auto* each : {&block, &last})
    if (*each) layers.push_back(&(*each)->emb);
}

Variable Stage::forward(const Variable& x, const Variable& x1, std::span<const Variable>& told,
                        ForwardContext& context) const {
  const size_t blocks = (block ? 1 : 0) + (last ? 1 : 0);
  const std::vector<Variable> own(told.begin(), told.begin() + static_cast<ptrdiff_t>(blocks));
  told = told.subspan(blocks);
  if (!context.recompute || blocks == 0) return compute(x, x1, own, context);
  std::vector<Variable> inputs{x, x1, (block ? *block : *last).in_conv.weight.variable};
  inputs.insert(inputs.end(), own.begin(), own.end());
  // Both runs begin with the same random numbers, the first one moves the context on.
  const ForwardContext start = context;
  return recomputed(
      [=, this, &context, first = true]() mutable {
        if (std::exchange(first, false)) return compute(x, x1, own, context);
        ForwardContext again = start;
        return compute(x, x1, own, again);
      },
      inputs);
}

Variable Stage::compute(const Variable& x, const Variable& x1, const std::vector<Variable>& told,
                        ForwardContext& context) const {
  Variable h = x;
  if (stem) h = stem->forward(h);
  if (block) h = block->forward(h, x1, told.front(), context);
  if (attention) h = attention->forward(h);
  if (downsample) h = downsample->forward(h);
  if (upsample) h = upsample->forward(h);
  if (last) h = last->forward(h, {}, told.back(), context);
  return h;
}

void Stage::visit(const std::string& prefix, const ParameterVisitor& visitor) {
  int part = 0;  // torch's nn.Sequential numbers what is present
  const auto next = [&](const char* suffix) {
    return fmt::format("{}.{}{}", prefix, part++, suffix);
  };
  if (stem) stem->visit(next(""), visitor);
  if (block) block->visit(next(""), visitor);
  if (attention) attention->visit(next(""), visitor);
  if (downsample) downsample->visit(next(".op"), visitor);
  if (upsample) upsample->visit(next(".conv"), visitor);
  if (last) last->visit(next(""), visitor);
}

Stage level_stage(const TrunkConfig& config, int64_t level, int64_t in, Initializer& init) {
  Stage stage;
  const int64_t out = config.channels_at(level);
  stage.block.emplace(in, out, config.block_options(), Resample::none, init);
  if (config.attends_at(level))
    stage.attention.emplace(out, config.heads_of(out), config.block_options(), init);
  return stage;
}

Trunk::Trunk(const TrunkConfig& config, Initializer& init)
    : time_embed_(config.model_channels, config.last_frequency, init) {
  int64_t channels = config.channels_at(0);
  input_blocks_.emplace_back().stem.emplace(config.in_channels, channels, 3, init);
  channels_.push_back(channels);
  for (int64_t level = 0; level < config.levels(); ++level) {
    for (int64_t i = 0; i < config.num_res_blocks; ++i) {
      input_blocks_.push_back(level_stage(config, level, channels, init));
      channels = config.channels_at(level);
      channels_.push_back(channels);
    }
    if (level + 1 == config.levels()) break;
    Stage& halving = input_blocks_.emplace_back();
    if (config.resblock_updown)
      halving.last.emplace(channels, channels, config.block_options(), Resample::down, init);
    else
      halving.downsample.emplace(channels, channels, 3, init, Conv2dOptions{.stride = 2});
    channels_.push_back(channels);
  }
  const BlockOptions options = config.block_options();
  middle_.block.emplace(channels, channels, options, Resample::none, init);
  middle_.attention.emplace(channels, config.heads_of(channels), options, init);
  middle_.last.emplace(channels, channels, options, Resample::none, init);
}

void Trunk::list_projections(std::vector<const Linear*>& layers) const {
  for (const Stage& stage : input_blocks_) stage.list_projections(layers);
  middle_.list_projections(layers);
}

Variable Trunk::forward(const Variable& x, std::span<const Variable>& told, Dtype layers,
                        ForwardContext& context,
                        const std::function<void(const Variable&)>& each) const {
  Variable h = x;
  for (const Stage& stage : input_blocks_) {
    h = stage.stem ? stage.stem->forward_as(layers, h) : stage.forward(h, {}, told, context);
    if (each) each(h);
  }
  return middle_.forward(h, {}, told, context);
}

void Trunk::visit_blocks(const ParameterVisitor& visitor) {
  for (size_t i = 0; i < input_blocks_.size(); ++i)
    input_blocks_[i].visit(fmt::format("input_blocks.{}", i), visitor);
  middle_.visit("middle_block", visitor);
}

}  // namespace diffscm
