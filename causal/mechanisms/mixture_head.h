// What the outputs of a network say about one number z: that it is a mixture of normals (Bishop
// 1994, "Mixture density networks"). Smooth in the outputs and so in the network's inputs, as
// guidance wants it.
#pragma once

#include <cstddef>
#include <span>

namespace diffscm::causal {

// Outputs, K each: logits of the weights, means, raw log scales (log scale = L tanh(raw / L), L =
// 5). With outputs of 0 the means are spread over [-2, 2], so that the components can part.
struct MixtureHead {
  size_t components = 8;

  int outputs() const { return static_cast<int>(3 * components); }
  // -log p(z), and its gradient with respect to the outputs where `gradient` is not empty.
  double loss(double z, std::span<const float> outputs, std::span<float> gradient) const;
};

}  // namespace diffscm::causal
