// The anti-causal predictor p(parent | x_t): guided-diffusion's EncoderUNetModel with attention
// pooling, trained on noisy images (Diff-SCM section 3.3; Dhariwal & Nichol 2021, section 4.1).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "models/blocks.h"
#include "models/probabilities.h"

namespace diffscm {

struct ClassifierConfig {
  int64_t image_size = 28;  // the attention pool's positions fix it
  int64_t in_channels = 1, classes = 10;
  int64_t model_channels = 32;
  std::vector<int64_t> channel_mult{1, 2, 4,
                                    4};  // per level; each level halves the image, rounding down
  int64_t num_res_blocks = 1;
  int64_t head_channels = 64;
  double dropout = 0;
  int64_t norm_groups = 32;
};
void to_json(nlohmann::json& json, const ClassifierConfig& config);
// Strict: unknown, missing or out-of-range entries throw Error naming them.
void from_json(const nlohmann::json& json, ClassifierConfig& config);
// A lower bound of the parameters, without building the model.
int64_t least_parameters(const ClassifierConfig& config);

class Classifier {
 public:
  using Config = ClassifierConfig;
  static constexpr const char* kKind = "classifier";

  Classifier(const ClassifierConfig& config, uint64_t seed);
  const ClassifierConfig& config() const { return config_; }

  // x [N,S,S,in], t [N] in original units -> logits [N,classes].
  Variable forward(const Variable& x, const Tensor& t, ForwardContext& context) const;
  // Inference: softmax probabilities.
  ClassProbabilities probabilities(const Tensor& x, double t) const;
  // grad_x log p(label | x_t), shaped like x. Weight gradients are not computed.
  Tensor log_p_gradient(const Tensor& x, double t, const std::vector<int64_t>& labels) const;
  // The same with t [N] f32 and labels [N] i64 in the target's memory (checked by the caller:
  // require_labels), so that it can be part of a recorded step.
  Tensor log_p_gradient(const Tensor& x, const Tensor& t, const Tensor& labels) const;

  // As UNet::set_precision; the last layer, from tokens to logits, is computed in f32.
  void set_precision(Dtype layers) { layers_ = layers; }

  void visit(const ParameterVisitor& visitor);

 private:
  Classifier(const ClassifierConfig& config, Initializer init);

  ClassifierConfig config_;
  Dtype layers_ = Dtype::f32;
  TimeEmbedding time_embed_;
  Conv2d stem_;
  std::vector<ResBlock> blocks_;  // input_blocks.1 onwards
  std::optional<ResBlock> middle_first_, middle_last_;
  std::optional<AttentionBlock> middle_attention_;
  GroupNorm out_norm_;
  std::optional<AttentionPool> pool_;
};

}  // namespace diffscm
