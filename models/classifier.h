// The anti-causal predictor p(parent | x_t) of a category: an encoder of noisy images and a softmax
// (Diff-SCM section 3.3; Dhariwal & Nichol 2021, section 4.1).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "models/encoder.h"
#include "models/probabilities.h"

namespace diffscm {

struct ClassifierConfig : EncoderConfig {
  int64_t classes = 10;
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

  Classifier(const ClassifierConfig& config, uint64_t seed)
      : config_(config), encoder_(config, config.classes, kKind, seed) {}
  Classifier(const ClassifierConfig& config, ShapesOnly shapes)
      : config_(config), encoder_(config, config.classes, kKind, shapes) {}
  const ClassifierConfig& config() const { return config_; }

  // x [N,S,S,in], t [N] in original units -> logits [N,classes].
  Variable forward(const Variable& x, const Tensor& t, ForwardContext& context) const {
    return encoder_.forward(x, t, context);
  }
  // Inference: softmax probabilities.
  ClassProbabilities probabilities(const Tensor& x, double t) const;
  // grad_x log p(label | x_t), shaped like x. Weight gradients are not computed.
  Tensor log_p_gradient(const Tensor& x, double t, const std::vector<int64_t>& labels) const;
  // The same with t [N] f32 and labels [N] i64 in the target's memory (checked by the caller:
  // require_labels), so that it can be part of a recorded step.
  Tensor log_p_gradient(const Tensor& x, const Tensor& t, const Tensor& labels) const;

  void set_precision(Dtype layers) { encoder_.set_precision(layers); }
  void visit(const ParameterVisitor& visitor) { encoder_.visit(visitor); }

 private:
  ClassifierConfig config_;
  Encoder encoder_;
};

}  // namespace diffscm
