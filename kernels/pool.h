// Pooling and the token layout of the attention pool.
#pragma once

#include <cstdint>

namespace diffscm::kernels {

// Mean over 2x2 windows, stride 2; an odd last row or column is dropped, as torch's AvgPool2d(2, 2)
// does: x [N,H,W,C] -> y [N,H/2,W/2,C].
struct AvgPoolArgs {
  int64_t n, h, w, c;
  const float* x;
  float* y;
};
// dx is overwritten everywhere; the dropped row and column receive 0.
struct AvgPoolBackwardArgs {
  int64_t n, h, w, c;
  const float* dy;  // [N,H/2,W/2,C]
  float* dx;        // [N,H,W,C]
};

// Tokens of guided-diffusion's AttentionPool2d: token 0 is the mean over pixels, tokens 1.. are the
// pixels, plus a learned position: y[n,t,c] = token + position[t,c].
//   x [N,HW,C], position [HW+1, C] -> y [N,HW+1,C]
struct PoolTokensArgs {
  int64_t n, hw, c;
  const float* x;
  const float* position;
  float* y;
};
struct PoolTokensBackwardArgs {
  int64_t n, hw, c;
  const float* dy;   // [N,HW+1,C]
  float* dx;         // [N,HW,C] or null
  float* dposition;  // [HW+1,C] or null
};

}  // namespace diffscm::kernels
