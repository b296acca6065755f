// Whether two ways to guide say the same: the gradient of a classifier, and what a conditional
// network implies by Bayes' rule,
//   grad log p(parent = value | x_t) = (eps(x_t, t) - eps(x_t, t | value)) / sqrt(1 - alpha_bar_t)
// (Ho & Salimans 2022, section 3.1). Where they part, at least one of the networks is wrong.
#pragma once

#include <span>
#include <vector>

#include "diffusion/epsilon.h"
#include "diffusion/noise_schedule.h"
#include "evaluation/metrics/interval.h"

namespace diffscm {

struct GradientAgreement {
  int timestep;
  double alpha_bar;
  MeanInterval cosine;  // of the angle between the two, over images: 1 is agreement
  MeanInterval ratio;   // |classifier's| / |implicit|: 1 is agreement
};

// At `levels` evenly spaced timesteps from 0 to T-1, for images x0 [N,H,W,C] of a data set's places
// `index`, diffused with noise that depends on (seed, index, timestep) alone. The functions are
// bound to one value per image. An image where either gradient is 0 has no angle and no ratio, and
// is not counted. Throws Error below two levels, and for functions that are empty.
std::vector<GradientAgreement> gradient_agreement(const GuidanceGradient& classifier,
                                                  const EpsilonModel& unconditional,
                                                  const EpsilonModel& conditional, const Tensor& x0,
                                                  const std::vector<int64_t>& index,
                                                  const NoiseSchedule& schedule, int levels,
                                                  uint64_t seed);

}  // namespace diffscm
