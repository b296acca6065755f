// A multilayer perceptron with SiLU between its layers: the network of a node that is a number or a
// category, not an image.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "models/layers.h"

namespace diffscm {

struct MlpConfig {
  int64_t inputs = 1, outputs = 1;
  std::vector<int64_t> hidden{64, 64};
};
void to_json(nlohmann::json& json, const MlpConfig& config);
// Strict: unknown, missing or out-of-range entries throw Error naming them.
void from_json(const nlohmann::json& json, MlpConfig& config);
int64_t least_parameters(const MlpConfig& config);

class Mlp {
 public:
  using Config = MlpConfig;
  static constexpr const char* kKind = "mlp";

  // Its first answer is 0 everywhere: the last layer starts at zero.
  Mlp(const MlpConfig& config, uint64_t seed);
  const MlpConfig& config() const { return config_; }

  // x [N, inputs] -> [N, outputs].
  Variable forward(const Variable& x) const;
  void visit(const ParameterVisitor& visitor);

 private:
  MlpConfig config_;
  std::vector<Linear> layers_;
};

}  // namespace diffscm
