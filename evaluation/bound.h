// How near to the true counterfactual can any answer come that sees the image alone? A network
// trained on pairs of a world with known truth, (factual, target) -> true counterfactual, says: its
// squared error is that of the mean over everything the factual leaves open.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"
#include "models/unet.h"

namespace diffscm {

class Bound : public UNet {
 public:
  static constexpr const char* kKind = "bound";
  using UNet::UNet;

  // The configuration for images and classes of a data set: told the target class.
  static UNetConfig configure(UNetConfig config, const data::Dataset& dataset);
  // x [N,H,W,C] in [-1, 1], target [N, classes] one-hot -> the expected counterfactual, like x.
  Variable forward(const Variable& x, const Tensor& target, ForwardContext& context) const;
  // The same from class numbers, without a tape.
  Tensor answer(const Tensor& x, std::span<const int64_t> targets) const;
};

// A training batch: images `index`, a plausible target each drawn by (seed, step), and the truth.
struct CounterfactualPairs {
  std::vector<int64_t> targets;
  Tensor truth;  // [N,H,W,C] on the cpu
};
CounterfactualPairs draw_pairs(const data::Dataset& dataset, std::span<const int64_t> index,
                               uint64_t seed, int64_t step);

}  // namespace diffscm
