// All that the residual blocks of a network are told of the time, in one operator: the embedding of
// t, its two layers, and the projection for each block (linear_group.h). Nothing else of a network
// is so small in so many parts.
#pragma once

#include <cstdint>

#include "kernels/linear_group.h"

namespace diffscm::kernels {

//   e[n]   = SiLU(W2 SiLU(W1 emb(t[n]) + b1) + b2 + more[n]),  emb as timestep_embedding has it
//   y_l[n] = W_l e[n] + b_l                                    for each layer l
// Every element of every y_l is written and nothing else; none may alias an input. `layers` lies in
// the host's memory and is read during the call only. Numerics: f32, angles in double; a row has
// the same bits whatever the number of rows.
struct TimeProjectionsArgs {
  int64_t n, channels, hidden;
  bool last_frequency;   // of timestep_embedding
  const float* t;        // [N], in original units
  const float* weight1;  // [hidden, channels]
  const float* bias1;    // [hidden]
  const float* weight2;  // [hidden, hidden]
  const float* bias2;    // [hidden]
  const float* more;     // [N, hidden] or null
  int64_t count;
  const LinearGroupArgs::Layer* layers;  // [count], of `hidden` inputs
};
void check(const TimeProjectionsArgs&);

}  // namespace diffscm::kernels
