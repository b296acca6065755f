// An ensemble of multilayer perceptrons on clean images: the classifier that the classical
// counterfactual methods explain (Schut et al. 2021: 784-200-200-10, adversarially trained).
// Layer norm and SiLU stand where the authors have ReLU and batch norm.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "models/layers.h"

namespace diffscm {

struct MlpEnsembleConfig {
  int64_t image_size = 28, in_channels = 1, classes = 10;
  int64_t hidden = 200;
  int64_t members = 5;
};
void to_json(nlohmann::json& json, const MlpEnsembleConfig& config);
// Strict: unknown, missing or out-of-range entries throw Error naming them.
void from_json(const nlohmann::json& json, MlpEnsembleConfig& config);
int64_t least_parameters(const MlpEnsembleConfig& config);

class MlpEnsemble {
 public:
  using Config = MlpEnsembleConfig;
  static constexpr const char* kKind = "ensemble";

  MlpEnsemble(const MlpEnsembleConfig& config, uint64_t seed);
  const MlpEnsembleConfig& config() const { return config_; }

  // x [N,S,S,in] -> logits [N,classes] of one member.
  Variable forward(int64_t member, const Variable& x) const;
  // The mean of all members' logits.
  Variable mean_logits(const Variable& x) const;

  // Each member's adversarial images x' = clip(x + step sign(grad_x CE)), by the fast gradient sign
  // method against its own gradient (Goodfellow et al. 2015; Schut et al. use step 0.15 of the
  // range, 0.3 in [-1, 1]). labels [N] i64.
  std::vector<Tensor> attacks(const Tensor& x, const Tensor& labels, float step);
  // The sum over members of the cross-entropies on x and on its attack: [N].
  Variable adversarial_loss(const Tensor& x, const Tensor& labels,
                            std::span<const Tensor> attacks) const;

  void visit(const ParameterVisitor& visitor);

 private:
  struct Member {
    Linear first, second, last;
    GroupNorm first_norm, second_norm;
  };

  MlpEnsembleConfig config_;
  std::vector<Member> members_;
  Tensor mean_;  // [classes, classes]: the identity over members
};

}  // namespace diffscm
