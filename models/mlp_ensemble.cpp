#include "models/mlp_ensemble.h"

#include <algorithm>
#include <cmath>

namespace diffscm {

MlpEnsemble::MlpEnsemble(const MlpEnsembleConfig& config, uint64_t seed) : config_(config) {
  Initializer init(seed);
  const int64_t pixels = config.image_size * config.image_size * config.in_channels;
  for (int64_t m = 0; m < config.members; ++m)
    members_.push_back(
        {Linear(pixels, config.hidden, init), Linear(config.hidden, config.hidden, init),
         Linear(config.hidden, config.classes, init), GroupNorm(config.hidden, /*groups=*/1),
         GroupNorm(config.hidden, /*groups=*/1)});
  std::vector<float> mean(static_cast<size_t>(config.classes * config.classes), 0.0f);
  for (int64_t c = 0; c < config.classes; ++c)
    mean[static_cast<size_t>(c * (config.classes + 1))] = 1 / static_cast<float>(config.members);
  mean_ = Tensor::from(mean, {config.classes, config.classes});
}

Variable MlpEnsemble::forward(int64_t member, const Variable& x) const {
  require_input(x, config_.image_size, config_.in_channels, "ensemble");
  const Member& m = members_[static_cast<size_t>(member)];
  Variable h = reshape(x, {x.dim(0), x.value().numel() / x.dim(0)});
  h = m.first_norm.forward(m.first.forward(h), {}, {}, /*silu=*/true);
  h = m.second_norm.forward(m.second.forward(h), {}, {}, /*silu=*/true);
  return m.last.forward(h);
}

Variable MlpEnsemble::mean_logits(const Variable& x) const {
  Variable sum = forward(0, x);
  for (int64_t m = 1; m < config_.members; ++m) sum = add(sum, forward(m, x));
  return linear(sum, mean_.to(x.value().target()), {});
}

std::vector<Tensor> MlpEnsemble::attacks(const Tensor& x, const Tensor& labels, float step) {
  std::vector<Tensor> all;
  for (int64_t m = 0; m < config_.members; ++m) {
    const Variable input = Variable::leaf(x);
    backward(log_softmax_at(forward(m, input), labels), Tensor::full({x.dim(0)}, 1, x.target()));
    // The attack's gradients of the weights are not the optimiser's.
    visit([](const std::string&, Parameter& p) { p.variable.clear_gradient(); });
    std::vector<float> attacked = x.to_vector();
    const std::vector<float> gradient = input.gradient().to_vector();  // of log p: downhill
    for (size_t i = 0; i < attacked.size(); ++i) {
      const auto direction = static_cast<float>((gradient[i] < 0) - (gradient[i] > 0));
      attacked[i] = std::clamp(attacked[i] + step * direction, -1.0f, 1.0f);
    }
    all.push_back(Tensor::from(attacked, x.shape(), x.target()));
  }
  return all;
}

Variable MlpEnsemble::adversarial_loss(const Tensor& x, const Tensor& labels,
                                       std::span<const Tensor> attacks) const {
  Variable log_p;
  const auto include = [&](const Variable& term) { log_p = log_p ? add(log_p, term) : term; };
  for (int64_t m = 0; m < config_.members; ++m) {
    include(log_softmax_at(forward(m, x), labels));
    include(log_softmax_at(forward(m, attacks[static_cast<size_t>(m)]), labels));
  }
  return negate(log_p);
}

void MlpEnsemble::visit(const ParameterVisitor& visitor) {
  for (size_t m = 0; m < members_.size(); ++m) {
    const std::string prefix = fmt::format("members.{}", m);
    members_[m].first.visit(prefix + ".0", visitor);
    members_[m].first_norm.visit(prefix + ".1", visitor);
    members_[m].second.visit(prefix + ".2", visitor);
    members_[m].second_norm.visit(prefix + ".3", visitor);
    members_[m].last.visit(prefix + ".4", visitor);
  }
}

}  // namespace diffscm
