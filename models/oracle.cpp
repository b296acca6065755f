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
  require(x.value().rank() == 4 && x.dim(1) == config_.image_size &&
              x.dim(2) == config_.image_size && x.dim(3) == config_.in_channels,
          "this oracle expects images [N,{0},{0},{1}], got {2}", config_.image_size,
          config_.in_channels, to_string(x.shape()));
  Variable h = x;
  for (const Stage& stage : stages_)
    h = stage.norm.forward(stage.conv.forward(h), {}, {}, /*silu=*/true);
  h = avg_pool(h);
  return silu(features_.forward(reshape(h, {h.dim(0), h.value().numel() / h.dim(0)})));
}

std::vector<std::vector<float>> Oracle::probabilities(const Tensor& x) const {
  const NoGrad no_grad;
  const int64_t n = x.dim(0), classes = config_.classes;
  const Tensor logits = forward(x).value();
  const Tensor label =
      Tensor::from(std::vector<int64_t>(static_cast<size_t>(n), 0), {n}, x.target());
  Tensor log_p({n}, x.target()), p({n, classes}, x.target());
  operators(x.target())
      .log_softmax({n, classes, 1.0f, logits.data(), label.data_i64(), log_p.mutable_data(),
                    p.mutable_data(), nullptr});
  const std::vector<float> flat = p.to_vector();
  std::vector<std::vector<float>> rows;
  for (auto at = flat.begin(); at != flat.end(); at += classes) rows.emplace_back(at, at + classes);
  return rows;
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
