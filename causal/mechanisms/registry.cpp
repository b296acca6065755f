// The mechanisms there are: one line each.
#include "causal/mechanism.h"
#include "causal/mechanisms/categorical_network.h"
#include "causal/mechanisms/diffusion.h"
#include "causal/mechanisms/empirical.h"
#include "causal/mechanisms/equation.h"
#include "causal/mechanisms/image_diffusion.h"
#include "causal/mechanisms/measurement.h"
#include "causal/mechanisms/regression.h"
#include "causal/mechanisms/table.h"

namespace diffscm::causal {

std::span<const MechanismKind> mechanism_kinds() {
  static constexpr MechanismKind kKinds[] = {
      {"table", "conditional probabilities of a discrete node with discrete parents", make_table},
      {"equation", "a structural equation that is given", make_equation},
      {"categorical-network", "softmax network of a discrete node", make_categorical_network},
      {"additive-noise", "f(parents) + noise, f a network", make_additive_noise},
      {"conditional-affine", "normal, location and scale by a network", make_conditional_affine},
      {"spline", "monotone spline of normal noise, by a network", make_spline},
      {"diffusion", "diffusion model of a number, in two forms", make_diffusion},
      {"image-diffusion", "diffusion model of images, in two forms", make_image_diffusion},
      {"measurement", "a number measured from an image", make_measurement},
      {"empirical", "a root drawn from the data", make_empirical},
  };
  return kKinds;
}

}  // namespace diffscm::causal
