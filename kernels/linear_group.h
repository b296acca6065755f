// Several linear layers of one input in one operator: the projections of the time embedding, one
// for each residual block of a U-Net. Each is small, and a launch would cost more than its work.
#pragma once

#include <cstdint>

namespace diffscm::kernels {

// y_l[m,o] = sum_k x[m,k] weight_l[o,k] + bias_l[o] for each layer l. Every element of every y_l is
// written and nothing else; none may alias x. `layers` lies in the host's memory and is read during
// the call only. Numerics: f32, k summed in order whatever the number of rows.
struct LinearGroupArgs {
  struct Layer {
    int64_t out;
    const float* weight;  // [out, K]
    const float* bias;    // [out] or null
    float* y;             // [M, out], rows ldy apart
    int64_t ldy;
  };
  int64_t m, k;
  const float* x;  // [M, K]
  int64_t count;
  const Layer* layers;  // [count]
};
void check(const LinearGroupArgs&);

// dx[m,k] = sum_l sum_o dy_l[m,o] weight_l[o,k],  dweight_l[o,k] = sum_m dy_l[m,o] x[m,k],
// dbias_l[o] = sum_m dy_l[m,o]. Null outputs are skipped; the others are overwritten.
// Bit-reproducible.
struct LinearGroupBackwardArgs {
  struct Layer {
    int64_t out;
    const float* weight;  // [out, K]
    const float* dy;      // [M, out]
    float* dweight;       // [out, K] or null
    float* dbias;         // [out] or null
  };
  int64_t m, k;
  const float* x;  // [M, K]; may be null without a dweight
  int64_t count;
  const Layer* layers;  // [count]
  float* dx;            // [M, K] or null
};
void check(const LinearGroupBackwardArgs&);

}  // namespace diffscm::kernels
