// Effectiveness: does the counterfactual have the value it was intervened to have (Monteiro et al.
// 2023, "Measuring axiomatic soundness of counterfactual image models")? Judged by an oracle that
// had no part in making it; where the guide sees the target and the oracle does not, the change is
// adversarial, not semantic.
#pragma once

#include <vector>

#include "evaluation/metrics/images.h"
#include "models/probabilities.h"

namespace diffscm {

struct Effectiveness {
  int64_t predicted = 0;  // the most probable class, the smaller one of equals
  bool flip = false;      // it is the target
  double p_target = 0;    // in [0, 1], higher is better
};
// Throws Error for rows of different lengths, targets outside them, and numbers that are no
// probabilities.
std::vector<Effectiveness> effectiveness(const ClassProbabilities& probabilities,
                                         std::span<const int64_t> targets);

// The guide sees the target and the oracle does not. Range of its mean [0, 1], lower is better.
bool adversarial(const Effectiveness& oracle, const Effectiveness& guide);

}  // namespace diffscm
