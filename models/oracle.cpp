#include "models/oracle.h"

namespace diffscm {

Oracle::Oracle(const OracleConfig& config, uint64_t seed) : Oracle(config, Initializer(seed)) {}

Oracle::Oracle(const OracleConfig& config, Initializer init) : config_(config) {
  int64_t in = config.in_channels, size = config.image_size;
  for (const int64_t out : config.channels) {
    const int stride = stages_.empty() ? 1 : 2;
    stages_.push_back({Conv2d(in, out, 3, init, {.stride = stride}), GroupNorm(out, 8)});
    size = (size - 1) / stride + 1;
    in = out;
  }
  features_ = Linear((size / 2) * (size / 2) * in, config.features, init);
  last_ = Linear(config.features, config.classes, init);
}

Variable Oracle::features(const Variable& x) const {
  require_input(x, config_.image_size, config_.in_channels, "oracle");
  Variable h = x;
  for (const Stage& stage : stages_)
    h = stage.norm.forward(stage.conv.forward(h), {}, {}, /*silu=*/true);
  h = avg_pool(h);
  return silu(features_.forward(reshape(h, {h.dim(0), h.value().numel() / h.dim(0)})));
}

ClassProbabilities Oracle::probabilities(const Tensor& x) const {
  const NoGrad no_grad;
  return softmax(forward(x).value());
}

void Oracle::visit(const ParameterVisitor& visitor) {
  for (size_t i = 0; i < stages_.size(); ++i) {
    stages_[i].conv.visit(fmt::format("stages.{}.conv", i), visitor);
    stages_[i].norm.visit(fmt::format("stages.{}.norm", i), visitor);
  }
  features_.visit("features", visitor);
  last_.visit("classifier", visitor);
}

}  // namespace diffscm
