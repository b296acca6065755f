// What the causal procedures need from networks, and nothing more: so that every sampler, abduction
// and counterfactual can be tested on distributions whose score is known in closed form.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/tensor.h"

namespace diffscm {

// eps_theta(x_t, t) for a batch x_t [N,H,W,C] at one timestep t (original units, 0 .. T-1).
using EpsilonModel = std::function<Tensor(const Tensor& x_t, int timestep)>;

// Anti-causal predictor of one intervened parent. Returns grad_{x_t} log p(parent = target | x_t),
// shaped like x_t, with one target per sample already bound by whoever made the function.
using GuidanceGradient = std::function<Tensor(const Tensor& x_t, int timestep)>;

}  // namespace diffscm
