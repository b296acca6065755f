// IM1 and IM2 (Van Looveren & Klaise 2021, "Interpretable counterfactual explanations guided by
// prototypes", section 4.3), as computed by Schut et al. 2021. Images u are in [0, 1].
//
//   IM1 = mse(u, AE_target(u)) / (mse(u, AE_factual(u)) + 1e-7)      [0, inf), lower is better:
//         below 1, the image looks more like the target class than like the factual one
//   IM2 = mse(AE_target(u), AE_all(u)) / (mean |u| + 1e-7)           [0, inf), lower is better:
//         the target class describes the image as well as all classes together do
// mse is the mean over pixels.
#pragma once

#include <vector>

#include "evaluation/metrics/images.h"
#include "models/autoencoder.h"

namespace diffscm {

struct Interpretability {
  double im1 = 0, im2 = 0;
};

// The formulas, given u and its three reconstructions.
Interpretability interpretability(std::span<const double> u, std::span<const double> by_target,
                                  std::span<const double> by_factual,
                                  std::span<const double> by_all);

// images [N,H,W,C] in [-1, 1], mapped to [0, 1] here.
std::vector<Interpretability> interpretability(const Autoencoders& autoencoders,
                                               const Tensor& images,
                                               std::span<const int64_t> factual_class,
                                               std::span<const int64_t> target_class);

}  // namespace diffscm
