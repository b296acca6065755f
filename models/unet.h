// The noise-prediction U-Net eps_theta(x_t, t) of guided-diffusion and Diff-SCM.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "models/blocks.h"
#include "models/checkpoint.h"
#include "models/condition.h"

namespace diffscm {

struct UNetConfig {
  int64_t image_size = 28;
  int64_t in_channels = 1, out_channels = 1;
  int64_t model_channels = 32;
  std::vector<int64_t> channel_mult{1, 2, 2};  // per level; each level halves the image
  int64_t num_res_blocks = 1;
  std::vector<int64_t> attention_downsample{};  // levels with attention, by downsampling factor
  int64_t heads = 1;
  double dropout = 0;
  int64_t norm_groups = 32;
  std::vector<Condition> conditions{};  // what it can be told; empty: unconditional
};
void to_json(nlohmann::json& json, const UNetConfig& config);
// Strict: unknown, missing or out-of-range entries throw Error naming them.
void from_json(const nlohmann::json& json, UNetConfig& config);
// A lower bound of the parameters, without building the model.
int64_t least_parameters(const UNetConfig& config);

// Turns the tensors of a model that was told `from` into a start for one that is told `to`: of what
// only `to` knows the weights are zero, which changes nothing until they are trained. Throws Error
// for a condition that is another kind of attribute in each.
void teach_conditions(NamedTensors& state, std::span<const Condition> from,
                      std::span<const Condition> to);

class UNet {
 public:
  using Config = UNetConfig;
  static constexpr const char* kKind = "unet";

  UNet(const UNetConfig& config, uint64_t seed);
  const UNetConfig& config() const { return config_; }

  // x [N,H,W,in], t [N] in original units 0 .. T-1, features [N,F] (models/condition.h) or empty,
  // which is told nothing, as all-zero features are -> eps [N,H,W,out]. H and W must halve evenly
  // at every level. Conditions are added to the time embedding (Dhariwal & Nichol 2021).
  Variable forward(const Variable& x, const Tensor& t, ForwardContext& context,
                   const Tensor& features = {}) const;
  // Inference: no tape; t [N], or every sample at the same t.
  Tensor predict(const Tensor& x, const Tensor& t, const Tensor& features = {}) const;
  Tensor predict(const Tensor& x, double t) const;

  // What the layers compute in, f32 or bf16. Parameters, images and eps are f32 either way, and so
  // are the time embedding and the first and last convolution, whose few channels gain nothing from
  // bf16 while the image and eps would lose digits.
  void set_precision(Dtype layers) { layers_ = layers; }

  void visit(const ParameterVisitor& visitor);

 private:
  UNet(const UNetConfig& config, Initializer init);

  // One entry of input_blocks or output_blocks, in order of application; absent parts are skipped.
  struct Stage {
    std::optional<Conv2d> stem;
    std::optional<ResBlock> block;
    std::optional<AttentionBlock> attention;
    std::optional<Conv2d> downsample, upsample;
  };
  UNetConfig config_;
  Dtype layers_ = Dtype::f32;
  TimeEmbedding time_embed_;
  Parameter condition_embed_;  // [4 model_channels, F]; empty when unconditional
  std::vector<Stage> input_blocks_, output_blocks_;
  std::optional<ResBlock> middle_first_, middle_last_;
  std::optional<AttentionBlock> middle_attention_;
  GroupNorm out_norm_;
  Conv2d out_conv_;
};

}  // namespace diffscm
