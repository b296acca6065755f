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
template <class T>
void check(const BasicLinearCombinationArgs<T>&);

// y = x, rounded to nearest even when To is bf16.
template <class From, class To>
struct CastArgs {
  int64_t n;
  const From* x;
  To* y;
};
template <class From, class To>
void check(const CastArgs<From, To>&);

// y = x * sigmoid(x). y may alias x.  Backward: dx = dy * (s + x s (1 - s)), s = sigmoid(x).
template <class T>
struct BasicSiluArgs {
  int64_t n;
  const T* x;
  T* y;
};
using SiluArgs = BasicSiluArgs<float>;
template <class T>
void check(const BasicSiluArgs<T>&);
template <class T>
struct BasicSiluBackwardArgs {
  int64_t n;
  const T* x;
  const T* dy;
  T* dx;
};
using SiluBackwardArgs = BasicSiluBackwardArgs<float>;
template <class T>
void check(const BasicSiluBackwardArgs<T>&);

// y = max(x, 0). y may alias x.  Backward: dx = dy where y > 0, else 0; dx may alias dy.
struct ReluArgs {
  int64_t n;
  const float* x;
  float* y;
};
void check(const ReluArgs&);
struct ReluBackwardArgs {
  int64_t n;
  const float* y;
  const float* dy;
  float* dx;
};
void check(const ReluBackwardArgs&);

// Sinusoidal embedding: emb[n, i] = cos(t[n] f_i), emb[n, half + i] = sin(t[n] f_i),
// f_i = exp(-ln(10000) i / half), i < half = channels / 2 (cos first, as guided-diffusion has it).
// last_frequency: f_i = exp(-ln(10000) i / (half - 1)), as Ho et al. 2020 have it, and cosine and
// sine of each stand beside each other: emb[n, 2 i] and emb[n, 2 i + 1].
// Requires channels even, with last_frequency more than two. t is in original integer units, 0 ..
// 999. Angles in double before cos/sin.
struct TimestepEmbeddingArgs {
  int64_t n, channels;
  const float* t;  // [N]
  float* emb;      // [N, channels]
  bool last_frequency = false;
};
void check(const TimestepEmbeddingArgs&);

// y[n,e] = a[n] * x[n,e] + b[n] * z[n,e]: one pair of factors per sample. With sqrt(abar) and
// sqrt(1 - abar) it is the forward diffusion of x0 by noise, each sample at a level of its own. z
// may be null (then b is ignored). y may alias x or z.
struct CombineSamplesArgs {
  int64_t n, elements;
  const float* a;  // [N]
  const float* x;  // [N, elements]
  const float* b;  // [N]
  const float* z;  // [N, elements] or null
  float* y;        // [N, elements]
};
void check(const CombineSamplesArgs&);

// y[i,e] = x[rows[i],e]: samples `rows` of x, in that order and as often as they stand there. A row
// outside 0 .. rows_of_x - 1 is never read: the cpu target throws, the others cannot stop and write
// NaN to that sample of y. y must not alias x.
struct GatherRowsArgs {
  int64_t n, elements, rows_of_x;
  const float* x;       // [rows_of_x, elements]
  const int64_t* rows;  // [N]
  float* y;             // [N, elements]
};
void check(const GatherRowsArgs&);

// y[n] = sum_e x[n,e] * z[n,e], accumulated in double in a fixed order. The inner products of
// Anderson acceleration and of per-image residuals.
struct SampleDotArgs {
  int64_t n, elements;
  const float* x;  // [N, elements]
  const float* z;  // [N, elements]
  float* y;        // [N]
};
void check(const SampleDotArgs&);

}  // namespace diffscm::kernels
