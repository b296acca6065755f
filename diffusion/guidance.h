// Ways to combine what networks say about an intervention. A guidance function gives the gradient
// of log p(parent = value | x_t); how strongly it acts is the sampler's guidance_scale.
#pragma once

#include <vector>

#include "diffusion/epsilon.h"

namespace diffscm {

// Several intervened parents, conditionally independent given x_t: log-probabilities add, and so do
// gradients. Throws Error when a term is empty or there is none.
GuidanceGradient sum(std::vector<GuidanceGradient> terms);

// One parent weighted against the others of a sum: weight * gradient.
GuidanceGradient scaled(GuidanceGradient gradient, double weight);

// Classifier-free guidance (Ho & Salimans 2022, eq. 6 in the form with w = 0 unconditional, w = 1
// conditional): eps = eps_unconditional + w (eps_conditional - eps_unconditional). Asks both
// networks.
EpsilonModel classifier_free(EpsilonModel unconditional, EpsilonModel conditional, double w);

}  // namespace diffscm
