// A small convolutional Gaussian VAE (Kingma & Welling 2014): the space in which CLD measures
// distances between images (evaluation/metrics/cld.h).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "models/layers.h"

namespace diffscm {

struct VaeConfig {
  int64_t image_size = 28;
  int64_t in_channels = 1;
  std::vector<int64_t> channels{16, 32};  // per level; each halves the image
  int64_t latent = 16;
};
void to_json(nlohmann::json& json, const VaeConfig& config);
// Strict: unknown, missing or out-of-range entries throw Error naming them.
void from_json(const nlohmann::json& json, VaeConfig& config);
int64_t least_parameters(const VaeConfig& config);

// q(z | x) = N(mean, diag exp(log_variance)): conv3x3 of stride 2 and SiLU per level, then Linear.
// p(x | z) = N(decode(z), beta I): Linear, SiLU, then per level a conv3x3 that reads its input
// enlarged x2, SiLU between them. Images in [-1, 1].
class Vae {
 public:
  using Config = VaeConfig;
  static constexpr const char* kKind = "vae";

  Vae(const VaeConfig& config, uint64_t seed);
  const VaeConfig& config() const { return config_; }

  // x [N,S,S,in] -> [N, 2 latent]: means, then log variances.
  Variable encode(const Variable& x) const;
  // z [N,latent] -> [N,S,S,in].
  Variable decode(const Variable& z) const;
  // beta-VAE's objective per sample [N]: 1/2 |x - decode(z)|^2 + beta KL(q(z | x) || N(0, I)), with
  // z = mean + exp(log_variance / 2) noise; noise [N,latent].
  Variable loss(const Tensor& x, const Tensor& noise, double beta) const;

  void visit(const ParameterVisitor& visitor);

 private:
  Vae(const VaeConfig& config, Initializer init);

  VaeConfig config_;
  int64_t inner_ = 0;  // side of the image at the last level
  std::vector<Conv2d> down_, up_;
  Linear to_latent_, from_latent_;
};

}  // namespace diffscm
