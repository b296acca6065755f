// The anti-causal predictor p(parent | x_t) of a number: an encoder of noisy images with one
// output,
//   p(y | x_t) = N(y; f(x_t, t), sigma_t^2),
// y standardised and sigma_t the error of f that was measured at that noise level.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "models/condition.h"
#include "models/encoder.h"

namespace diffscm {

// The root mean square error of f at one noise level, in standardised units: 1 is what knowing
// nothing gives.
struct NoiseLevelError {
  static constexpr double kLeast = 1e-3;  // no attribute is read better than that
  int timestep = 0;
  double rms = 1;
};

struct RegressorConfig : EncoderConfig {
  Condition attribute{};                 // a number: its name, and what standardises it
  std::vector<NoiseLevelError> sigma{};  // ascending in the timestep; empty: not measured yet
};
void to_json(nlohmann::json& json, const RegressorConfig& config);
// Strict: unknown, missing or out-of-range entries throw Error naming them.
void from_json(const nlohmann::json& json, RegressorConfig& config);
// A lower bound of the parameters, without building the model.
int64_t least_parameters(const RegressorConfig& config);

// 1 / sigma_t^2 as a function of the timestep: linear between the levels that were measured,
// constant outside them.
class NoiseLevelPrecision {
 public:
  // Throws Error when `sigma` is empty.
  NoiseLevelPrecision(std::span<const NoiseLevelError> sigma, Target target);
  // t [N] f32 in the target's memory -> [N]. Can be part of a recorded step.
  Tensor operator()(const Tensor& t) const;

 private:
  // The function as a sum of hinges, each zero from its knot on: with it anchored where the noise
  // is greatest and precision least, large terms do not have to cancel.
  Variable minus_one_, knots_;  // [K,1], [K]
  Variable slopes_, last_;      // [1,K], [1]
};

class Regressor {
 public:
  using Config = RegressorConfig;
  static constexpr const char* kKind = "regressor";

  Regressor(const RegressorConfig& config, uint64_t seed)
      : config_(config), encoder_(config, 1, kKind, seed) {}
  Regressor(const RegressorConfig& config, ShapesOnly shapes)
      : config_(config), encoder_(config, 1, kKind, shapes) {}
  const RegressorConfig& config() const { return config_; }
  // Once the errors are known: they become part of the configuration.
  void set_sigma(std::vector<NoiseLevelError> sigma) { config_.sigma = std::move(sigma); }

  // x [N,S,S,in], t [N] in original units -> f [N,1], standardised.
  Variable forward(const Variable& x, const Tensor& t, ForwardContext& context) const {
    return encoder_.forward(x, t, context);
  }
  // Inference: f in the attribute's own units, one value per image.
  std::vector<double> values(const Tensor& x, double t) const;
  // [N,1] of values in the attribute's own units, on `target`. Throws Error unless they are finite.
  Tensor standardised(std::span<const double> values, Target target) const;
  // grad_x log p(y | x_t) = -(f - y) / sigma_t^2 grad_x f, shaped like x, for standardised y [N,1]
  // and precision [N], 1 / sigma_t^2, in the target's memory. Weight gradients are not computed.
  Tensor log_p_gradient(const Tensor& x, const Tensor& t, const Tensor& y,
                        const Tensor& precision) const;

  void set_precision(Dtype layers) { encoder_.set_precision(layers); }
  void visit(const ParameterVisitor& visitor) { encoder_.visit(visitor); }

 private:
  RegressorConfig config_;
  Encoder encoder_;
};

}  // namespace diffscm
