#include "evaluation/bound.h"

#include "evaluation/metrics/truth.h"
#include "kernels/random.h"

namespace diffscm {

UNetConfig Bound::configure(UNetConfig config, const data::Dataset& dataset) {
  config.out_channels = config.in_channels;  // it draws nothing, so there is no variance to learn
  config.conditions = {{.name = dataset.label_attribute().name, .classes = dataset.classes}};
  return config;
}

Variable Bound::forward(const Variable& x, const Tensor& target, ForwardContext& context) const {
  const Tensor clean = Tensor::constant({x.dim(0)}, 0, x.value().target());
  return UNet::forward(x, clean, context, target);
}

Tensor Bound::answer(const Tensor& x, std::span<const int64_t> targets) const {
  const NoGrad no_grad;
  ForwardContext context;
  const std::vector<double> values(targets.begin(), targets.end());
  return forward(x, condition_features(config().conditions, values, x.target()), context).value();
}

CounterfactualPairs draw_pairs(const data::Dataset& dataset, std::span<const int64_t> index,
                               uint64_t seed, int64_t step) {
  const kernels::RandomKey key{seed, kernels::Purpose::order, static_cast<uint32_t>(step)};
  CounterfactualPairs pairs;
  for (size_t i = 0; i < index.size(); ++i) {
    const int64_t label = dataset.labels.at(static_cast<size_t>(index[i]));
    const std::vector<int64_t> targets = dataset.plausible_targets(label);
    pairs.targets.push_back(targets[kernels::philox(key, i, 2).word[0] % targets.size()]);
  }
  std::vector<data::Assignment> set;
  for (const int64_t target : pairs.targets)
    set.push_back({{dataset.label_attribute().name, static_cast<double>(target)}});
  pairs.truth = true_counterfactuals(dataset, index, set);
  return pairs;
}

}  // namespace diffscm
