// The oracle: a classifier of clean images that had no part in making them. Another family than the
// guiding classifier (models/classifier.h): plain convolutions, no timestep, no attention, no
// residuals.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "models/layers.h"
#include "models/probabilities.h"

namespace diffscm {

struct OracleConfig {
  int64_t image_size = 28;
  int64_t in_channels = 1, classes = 10;
  std::vector<int64_t> channels{16, 32, 64};  // multiples of 8; all but the first halve the image
  int64_t features = 64;
};
void to_json(nlohmann::json& json, const OracleConfig& config);
// Strict: unknown, missing or out-of-range entries throw Error naming them.
void from_json(const nlohmann::json& json, OracleConfig& config);
int64_t least_parameters(const OracleConfig& config);

// Per level conv3x3, group norm, SiLU; then 2x2 mean pooling, Linear, SiLU (the features), Linear.
// Images in [-1, 1].
class Oracle {
 public:
  using Config = OracleConfig;
  static constexpr const char* kKind = "oracle";

  Oracle(const OracleConfig& config, uint64_t seed);
  const OracleConfig& config() const { return config_; }

  // x [N,S,S,in] -> [N,features], what the last layer sees.
  Variable features(const Variable& x) const;
  // features -> logits [N,classes].
  Variable classify(const Variable& features) const { return last_.forward(features); }
  Variable forward(const Variable& x) const { return classify(features(x)); }
  // Inference: softmax probabilities.
  ClassProbabilities probabilities(const Tensor& x) const;

  void visit(const ParameterVisitor& visitor);

 private:
  Oracle(const OracleConfig& config, Initializer init);

  struct Stage {
    Conv2d conv;
    GroupNorm norm;
  };
  OracleConfig config_;
  std::vector<Stage> stages_;
  Linear features_, last_;
};

}  // namespace diffscm
