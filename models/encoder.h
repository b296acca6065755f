// The encoder of noisy images behind every anti-causal predictor: guided-diffusion's
// EncoderUNetModel (Dhariwal & Nichol 2021, section 4.1 and appendix).
#pragma once

#include <string>

#include "models/trunk.h"

namespace diffscm {

// What makes one vector of the last map [N,H,W,C], or of all maps.
//   attention   models/blocks.h: AttentionPool of SiLU(GN(x))
//   adaptive    a 1x1 convolution, initially zero, of the mean of SiLU(GN(x))
//   spatial     Linear(ReLU(Linear(means of every stage's result))), 2048 wide between
//   spatial_v2  Linear(SiLU(GN(Linear(..)))), likewise
enum class Pool { attention, adaptive, spatial, spatial_v2 };
const char* name_of(Pool pool);
// Throws Error naming the choices.
Pool parse_pool(const std::string& name);

struct EncoderConfig : TrunkConfig {
  Pool pool = Pool::attention;  // its positions fix the image's size; head_channels is needed

  EncoderConfig() {
    channel_mult = {1, 2, 4, 4};
    head_channels = 64;
    resblock_updown = true;
  }
  int64_t last_size() const { return image_size >> (levels() - 1); }  // halves are rounded down
};

class Encoder {
 public:
  // `who`: what messages call the network.
  Encoder(const EncoderConfig& config, int64_t outputs, const char* who, uint64_t seed)
      : Encoder(config, outputs, who, Initializer(seed)) {}
  Encoder(const EncoderConfig& config, int64_t outputs, const char* who, ShapesOnly)
      : Encoder(config, outputs, who, Initializer()) {}

  // x [N,S,S,in], t [N] in original units -> [N,outputs].
  Variable forward(const Variable& x, const Tensor& t, ForwardContext& context) const;

  // As UNet::set_precision; the last layer, from tokens to outputs, is computed in f32.
  void set_precision(Dtype layers) { layers_ = layers; }

  void visit(const ParameterVisitor& visitor);

 private:
  Encoder(const EncoderConfig& config, int64_t outputs, const char* who, Initializer init);
  bool is_spatial() const { return pool_kind_ == Pool::spatial || pool_kind_ == Pool::spatial_v2; }

  const char* who_;
  int64_t image_size_, in_channels_;
  Pool pool_kind_;
  Dtype layers_ = Dtype::f32;
  Trunk trunk_;
  GroupNorm out_norm_;  // of the last map, or of spatial_v2's hidden layer
  std::optional<AttentionPool> attention_;
  Linear hidden_, last_;
};

}  // namespace diffscm
