#include "models/mlp.h"

#include <nlohmann/json.hpp>

#include "models/config_fields.h"

namespace diffscm {

template <class Fields>
void fields(Fields& f, MlpConfig& c) {
  f.count("inputs", c.inputs, 100000);
  f.count("outputs", c.outputs, 100000);
  f.counts("hidden", c.hidden, 1, 65536);
}

void to_json(nlohmann::json& j, const MlpConfig& c) {
  write_config(j, c);
}

void from_json(const nlohmann::json& j, MlpConfig& c) {
  read_config(j, "MLP", c);
}

int64_t least_parameters(const MlpConfig& c) {
  int64_t least = 0, in = c.inputs;
  for (const int64_t out : c.hidden) {
    least += in * out;
    in = out;
  }
  return least + in * c.outputs;
}

Mlp::Mlp(const MlpConfig& config, uint64_t seed) : config_(config) {
  Initializer init(seed);
  int64_t in = config.inputs;
  for (const int64_t out : config.hidden) {
    layers_.emplace_back(in, out, init);
    in = out;
  }
  layers_.emplace_back(in, config.outputs, init, FileLayout::same, /*zero=*/true);
}

Variable Mlp::forward(const Variable& x) const {
  require(x.value().rank() == 2 && x.dim(1) == config_.inputs, "this MLP expects [N,{}], got {}",
          config_.inputs, to_string(x.shape()));
  Variable h = x;
  for (size_t i = 0; i < layers_.size(); ++i) h = layers_[i].forward(i == 0 ? h : silu(h));
  return h;
}

void Mlp::visit(const ParameterVisitor& visitor) {
  for (size_t i = 0; i < layers_.size(); ++i) layers_[i].visit(fmt::format("{}", i), visitor);
}

}  // namespace diffscm
