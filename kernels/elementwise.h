// Small elementwise operators. T is float or bf16, computed in f32.
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"

namespace diffscm::kernels {

// y[i] = a * x[i] + b * z[i]; z may be null (then b is ignored). y may alias x or z.
template <class T>
struct BasicLinearCombinationArgs {
  int64_t n;
  float a;
  const T* x;
  float b;
  const T* z;
  T* y;
};
using LinearCombinationArgs = BasicLinearCombinationArgs<float>;

// y = x, rounded to nearest even when To is bf16.
template <class From, class To>
struct CastArgs {
  int64_t n;
  const From* x;
  To* y;
};

// y = x * sigmoid(x). y may alias x.  Backward: dx = dy * (s + x s (1 - s)), s = sigmoid(x).
template <class T>
struct BasicSiluArgs {
  int64_t n;
  const T* x;
  T* y;
};
using SiluArgs = BasicSiluArgs<float>;
template <class T>
struct BasicSiluBackwardArgs {
  int64_t n;
  const T* x;
  const T* dy;
  T* dx;
};
using SiluBackwardArgs = BasicSiluBackwardArgs<float>;

// y = max(x, 0). y may alias x.  Backward: dx = dy where y > 0, else 0; dx may alias dy.
struct ReluArgs {
  int64_t n;
  const float* x;
  float* y;
};
struct ReluBackwardArgs {
  int64_t n;
  const float* y;
  const float* dy;
  float* dx;
};

// Sinusoidal embedding: emb[n, i] = cos(t[n] f_i), emb[n, half + i] = sin(t[n] f_i),
// f_i = exp(-ln(10000) i / half), i < half = channels / 2 (cos first, as guided-diffusion has it).
// Requires channels even. t is in original integer units, 0 .. 999. Angles in double before
// cos/sin.
struct TimestepEmbeddingArgs {
  int64_t n, channels;
  const float* t;  // [N]
  float* emb;      // [N, channels]
};

// y[n,e] = a[n] * x[n,e] + b[n] * z[n,e]: the forward diffusion x_t = sqrt(abar) x0 + sqrt(1-abar)
// eps with one noise level per sample. y may alias x or z.
struct AddNoiseArgs {
  int64_t n, elements;
  const float* a;  // [N]
  const float* b;  // [N]
  const float* x;  // [N, elements]
  const float* z;  // [N, elements]
  float* y;        // [N, elements]
};

// y[n] = sum_e x[n,e] * z[n,e], accumulated in double in a fixed order. The inner products of
// Anderson acceleration and of per-image residuals.
struct SampleDotArgs {
  int64_t n, elements;
  const float* x;  // [N, elements]
  const float* z;  // [N, elements]
  float* y;        // [N]
};

}  // namespace diffscm::kernels
