// The autoencoders behind IM1 and IM2 (evaluation/metrics/interpretability.h), as Schut et al. 2021
// have them. They work on images u in [0, 1].
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "models/layers.h"

namespace diffscm {

struct AutoencodersConfig {
  int64_t image_size = 28;  // a multiple of 4
  int64_t in_channels = 1;
  int64_t classes = 10;
};
void to_json(nlohmann::json& json, const AutoencodersConfig& config);
// Strict: unknown, missing or out-of-range entries throw Error naming them.
void from_json(const nlohmann::json& json, AutoencodersConfig& config);
int64_t least_parameters(const AutoencodersConfig& config);

// One network: 3x3 convolutions, with ReLU, 2x2 max pooling and nearest x2 enlargement where the
// tables say so.
class Autoencoder {
 public:
  // `of_class`: 1-16 ReLU pool 16-8 ReLU pool 8-8 | 8-8 ReLU up 8-16 ReLU up 16-1; 3,801
  // parameters. Otherwise, for all classes: 1-16 ReLU 16-16 ReLU pool 16-1 | 1-16 ReLU up 16-16
  // ReLU 16-1; 5,250 parameters. (For one input channel.)
  Autoencoder(int64_t in_channels, bool of_class, Initializer& init);

  // [N,S,S,C] -> [N,S/4,S/4,8], for all classes [N,S/2,S/2,C].
  Variable encode(const Variable& u) const { return run(encoder_, u); }
  Variable decode(const Variable& latent) const { return run(decoder_, latent); }
  Variable forward(const Variable& u) const { return decode(encode(u)); }
  void visit(const std::string& prefix, const ParameterVisitor& visitor);

 private:
  struct Stage {
    Conv2d conv;
    bool relu = false, pool = false;  // after the convolution, in this order
  };
  static Variable run(const std::vector<Stage>& stages, Variable h);

  std::vector<Stage> encoder_, decoder_;
};

// One autoencoder per class and one for all of them, in one file.
class Autoencoders {
 public:
  using Config = AutoencodersConfig;
  static constexpr const char* kKind = "autoencoders";

  Autoencoders(const AutoencodersConfig& config, uint64_t seed);
  const AutoencodersConfig& config() const { return config_; }

  const Autoencoder& of_class(int64_t label) const;  // Throws Error for no class of these.
  const Autoencoder& of_all() const { return networks_.back(); }
  // Network i is that of class i; the last is that of all classes.
  Autoencoder& network(int64_t i) { return networks_[static_cast<size_t>(i)]; }
  static std::string name(const AutoencodersConfig& config, int64_t i);  // "class.3", "all"

  void visit(const ParameterVisitor& visitor);

 private:
  AutoencodersConfig config_;
  std::vector<Autoencoder> networks_;
};

// From [-1, 1] to [0, 1]: (x + 1) / 2.
Tensor to_unit_range(const Tensor& x);

}  // namespace diffscm
