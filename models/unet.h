// The noise-prediction U-Net eps_theta(x_t, t) of guided-diffusion and Diff-SCM.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "models/checkpoint.h"
#include "models/condition.h"
#include "models/trunk.h"

namespace diffscm {

struct UNetConfig : TrunkConfig {
  // in_channels, or twice as many: then eps is followed by what interpolates the logarithm of the
  // variance of ddpm sampling (learn_sigma: Nichol & Dhariwal 2021, eq. 15).
  int64_t out_channels = 1;
  // The network sees images turned by 180 degrees, and so is its answer turned back. With all its
  // filters turned too it is a network whose halving convolutions are padded at the right and the
  // bottom only (Ho et al. 2020), not at every side.
  bool turned = false;
  std::vector<Condition> conditions{};  // what it can be told; empty: unconditional

  bool learns_variance() const { return out_channels == 2 * in_channels; }
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

  UNet(const UNetConfig& config, uint64_t seed) : UNet(config, Initializer(seed)) {}
  // Parameters without values, or memory (models/layers.h).
  UNet(const UNetConfig& config, ShapesOnly) : UNet(config, Initializer()) {}
  const UNetConfig& config() const { return config_; }

  // x [N,H,W,in], t [N] in original units 0 .. T-1, features [N,F] (models/condition.h) or empty,
  // which is told nothing, as all-zero features are -> eps [N,H,W,in]. H and W must halve evenly
  // at every level. Conditions are added to the time embedding (Dhariwal & Nichol 2021).
  Variable forward(const Variable& x, const Tensor& t, ForwardContext& context,
                   const Tensor& features = {}) const;
  // The same eps and, of a network that learns the variance, its interpolation v, both [N,H,W,in];
  // v is empty otherwise. -1 stands for the posterior's variance, 1 for beta.
  struct Estimates {
    Variable eps, v;
  };
  Estimates estimates(const Variable& x, const Tensor& t, ForwardContext& context,
                      const Tensor& features = {}) const;
  // Inference: both, without a tape.
  struct Outputs {
    Tensor eps, v;
  };
  Outputs outputs(const Tensor& x, const Tensor& t, const Tensor& features = {}) const;
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
  // What the features add to the embedding of t, [N, 4 model_channels]; empty without features.
  // Throws Error where the arguments do not fit the network or each other.
  Variable embed_features(const Variable& x, const Tensor& t, const Tensor& features) const;
  // What the last convolution reads; `features` as embedded.
  Variable body(const Variable& x, const Tensor& t, const Variable& features,
                ForwardContext& context) const;
  // eps from one kernel (models/whole_network.h), or an empty tensor.
  Tensor whole(const Tensor& x, const Tensor& t, const Tensor& features) const;
  Variable project(const Variable& h, int64_t begin, int64_t end) const;

  UNetConfig config_;
  Dtype layers_ = Dtype::f32;
  Trunk trunk_;
  Parameter condition_embed_;  // [4 model_channels, F]; empty when unconditional
  std::vector<Stage> output_blocks_;
  GroupNorm out_norm_;
  Conv2d out_conv_;
};

}  // namespace diffscm
