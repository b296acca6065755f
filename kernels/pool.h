// Pooling and the token layout of the attention pool. T is float or bf16, computed in f32.
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"

namespace diffscm::kernels {

// Mean over 2x2 windows, stride 2; an odd last row or column is dropped, as torch's AvgPool2d(2, 2)
// does: x [N,H,W,C] -> y [N,H/2,W/2,C].
template <class T>
struct BasicAvgPoolArgs {
  int64_t n, h, w, c;
  const T* x;
  T* y;
};
using AvgPoolArgs = BasicAvgPoolArgs<float>;
template <class T>
void check(const BasicAvgPoolArgs<T>&);
// dx is overwritten everywhere; the dropped row and column receive 0.
template <class T>
struct BasicAvgPoolBackwardArgs {
  int64_t n, h, w, c;
  const T* dy;  // [N,H/2,W/2,C]
  T* dx;        // [N,H,W,C]
};
using AvgPoolBackwardArgs = BasicAvgPoolBackwardArgs<float>;
template <class T>
void check(const BasicAvgPoolBackwardArgs<T>&);

// Largest of 2x2 windows, stride 2; an odd last row or column is dropped, as torch's MaxPool2d(2)
// does: x [N,H,W,C] -> y [N,H/2,W/2,C]. A window with a NaN gives NaN.
struct MaxPoolArgs {
  int64_t n, h, w, c;
  const float* x;
  float* y;
};
void check(const MaxPoolArgs&);
// The gradient goes to the largest element of each window, the first of equal ones in reading
// order; dx is overwritten everywhere.
struct MaxPoolBackwardArgs {
  int64_t n, h, w, c;
  const float* x;   // [N,H,W,C]
  const float* dy;  // [N,H/2,W/2,C]
  float* dx;        // [N,H,W,C]
};
void check(const MaxPoolBackwardArgs&);

// Tokens of guided-diffusion's AttentionPool2d: token 0 is the mean over pixels, tokens 1.. are the
// pixels, plus a learned position: y[n,t,c] = token + position[t,c].
//   x [N,HW,C], position [HW+1, C] -> y [N,HW+1,C]
template <class T>
struct BasicPoolTokensArgs {
  int64_t n, hw, c;
  const T* x;
  const float* position;
  T* y;
};
using PoolTokensArgs = BasicPoolTokensArgs<float>;
template <class T>
void check(const BasicPoolTokensArgs<T>&);
template <class T>
struct BasicPoolTokensBackwardArgs {
  int64_t n, hw, c;
  const T* dy;       // [N,HW+1,C]
  T* dx;             // [N,HW,C] or null
  float* dposition;  // [HW+1,C] or null
};
using PoolTokensBackwardArgs = BasicPoolTokensBackwardArgs<float>;
template <class T>
void check(const BasicPoolTokensBackwardArgs<T>&);

}  // namespace diffscm::kernels
