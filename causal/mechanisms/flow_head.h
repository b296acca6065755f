// What the outputs of a network say about one number z: that it is a monotone function of u ~ N(0,
// 1). Location and scale, and then a spline where one is wanted.
#pragma once

#include <optional>
#include <span>

#include "causal/mechanisms/rational_quadratic_spline.h"

namespace diffscm::causal {

// u = spline((z - location) exp(-log_scale)). Outputs: location, raw scale (log_scale = L tanh(raw
// / L), L = 7), the spline's 3K - 1 (causal/mechanisms/rational_quadratic_spline.h).
struct FlowHead {
  std::optional<SplineShape> spline{};

  int outputs() const { return 2 + (spline ? spline->parameters() : 0); }
  double to_noise(double z, std::span<const float> outputs) const;
  double to_value(double u, std::span<const float> outputs) const;
  // -log p(z), and its gradient with respect to the outputs where `gradient` is not empty.
  double loss(double z, std::span<const float> outputs, std::span<float> gradient) const;
};

}  // namespace diffscm::causal
