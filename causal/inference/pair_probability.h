// Two worlds, one noise: how a discrete node's states under different parents go together.
#pragma once

#include <span>

#include "causal/mechanism.h"

namespace diffscm::causal {

// P(the node is i with probabilities p, and j with probabilities q), both made of the same noise.
// Exact: no sampling.
//   inverse CDF: the overlap of the two states' intervals.
//   Gumbel-max:  with E_k = exp(-g_k) independent Exp(1), i wins under p where E_i / p_i is the
//   least
//     E_k / p_k. For i = j this has probability 1 / sum_k max(p_k / p_i, q_k / q_i). For i != j put
//     t = E_j / E_i in [p_j / p_i, q_j / q_i]; integrating E_i and the other E_k out leaves
//     integral dt / (1 + t + sum_k max(p_k / p_i, t q_k / q_j))^2, whose denominator is piecewise
//     linear in t.
// With two states the two agree. Requires sum p = sum q = 1; throws Error for Coupling::unknown.
double pair_probability(Coupling coupling, std::span<const double> p, std::span<const double> q,
                        size_t i, size_t j);

}  // namespace diffscm::causal
