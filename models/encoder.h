// The encoder of noisy images behind every anti-causal predictor: guided-diffusion's
// EncoderUNetModel with attention pooling (Dhariwal & Nichol 2021, section 4.1).
#pragma once

#include <optional>
#include <vector>

#include "models/blocks.h"

namespace diffscm {

struct EncoderConfig {
  int64_t image_size = 28;  // the attention pool's positions fix it
  int64_t in_channels = 1;
  int64_t model_channels = 32;
  // Per level; each level halves the image, rounding down.
  std::vector<int64_t> channel_mult{1, 2, 4, 4};
  int64_t num_res_blocks = 1;
  int64_t head_channels = 64;
  double dropout = 0;
  int64_t norm_groups = 32;
};
// A lower bound of the parameters of an encoder with that many outputs, without building it.
int64_t least_parameters(const EncoderConfig& config, int64_t outputs);

class Encoder {
 public:
  // `who`: what messages call the network.
  Encoder(const EncoderConfig& config, int64_t outputs, const char* who, uint64_t seed);

  // x [N,S,S,in], t [N] in original units -> [N,outputs].
  Variable forward(const Variable& x, const Tensor& t, ForwardContext& context) const;

  // As UNet::set_precision; the last layer, from tokens to outputs, is computed in f32.
  void set_precision(Dtype layers) { layers_ = layers; }

  void visit(const ParameterVisitor& visitor);

 private:
  Encoder(const EncoderConfig& config, int64_t outputs, const char* who, Initializer init);

  const char* who_;
  int64_t image_size_, in_channels_;
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
