// What guided-diffusion's U-Net and its encoder have in common: the time embedding, input_blocks
// and middle_block (Dhariwal & Nichol 2021, that code's unet.py).
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "models/blocks.h"

namespace diffscm {

struct TrunkConfig {
  int64_t image_size = 28;
  int64_t in_channels = 1;
  int64_t model_channels = 32;
  // Channels of each level, as multiples of model_channels, rounded down; each level halves the
  // image.
  std::vector<double> channel_mult{1, 2, 2};
  int64_t num_res_blocks = 1;
  std::vector<int64_t> attention_downsample{};  // levels with attention, by downsampling factor
  int64_t heads = 1;
  int64_t head_channels = 0;     // > 0: each level has as many heads of that width as fit
  bool resblock_updown = false;  // levels are halved, and doubled, by residual blocks
  bool scale_shift = true;       // models/blocks.h
  double dropout = 0;
  int64_t norm_groups = 32;
  double norm_eps = GroupNorm::kUsualEps;
  bool last_frequency = false;  // of the time embedding: models/blocks.h

  int64_t levels() const { return static_cast<int64_t>(channel_mult.size()); }
  int64_t channels_at(int64_t level) const;
  int64_t heads_of(int64_t channels) const;
  bool attends_at(int64_t level) const;
  BlockOptions block_options() const;
};

// One entry of input_blocks or output_blocks, or middle_block, in order of application; absent
// parts are skipped. `last` halves or doubles the image, but in the middle.
struct Stage {
  std::optional<Conv2d> stem;
  std::optional<ResBlock> block;
  std::optional<AttentionBlock> attention;
  std::optional<Conv2d> downsample, upsample;
  std::optional<ResBlock> last;

  // The layers that tell its residual blocks of the time, in order, behind those in `layers`.
  void list_projections(std::vector<const Linear*>& layers) const;
  // x1: concatenated behind x, or empty. told: begins with what those layers gave, which is taken
  // off it.
  Variable forward(const Variable& x, const Variable& x1, std::span<const Variable>& told,
                   ForwardContext& context) const;
  void visit(const std::string& prefix, const ParameterVisitor& visitor);

 private:
  Variable compute(const Variable& x, const Variable& x1, const std::vector<Variable>& told,
                   ForwardContext& context) const;
};

// A residual block for a stage of `level`, and attention where that level has it.
Stage level_stage(const TrunkConfig& config, int64_t level, int64_t in, Initializer& init);

class Trunk {
 public:
  Trunk(const TrunkConfig& config, Initializer& init);

  const TimeEmbedding& time_embedding() const { return time_embed_; }
  // As Stage's, of all its stages.
  void list_projections(std::vector<const Linear*>& layers) const;
  // x [N,S,S,in] -> middle_block's result; told as Stage's. `each` is shown the result of each of
  // input_blocks. `layers`: the dtype from the stem on.
  Variable forward(const Variable& x, std::span<const Variable>& told, Dtype layers,
                   ForwardContext& context,
                   const std::function<void(const Variable&)>& each = {}) const;
  // Of the results of input_blocks, in order; middle_block's has as many as the last.
  const std::vector<int64_t>& channels() const { return channels_; }

  void visit_embedding(const ParameterVisitor& visitor) {
    time_embed_.visit("time_embed", visitor);
  }
  void visit_blocks(const ParameterVisitor& visitor);

 private:
  TimeEmbedding time_embed_;
  std::vector<Stage> input_blocks_;
  std::vector<int64_t> channels_;
  Stage middle_;
};

}  // namespace diffscm
