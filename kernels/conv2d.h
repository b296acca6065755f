// 2-d convolution (cross-correlation, as in every deep-learning library).
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/bfloat16.h"

namespace diffscm::kernels {

// Geometry shared by forward and both backwards. The input image the filter sees is
//   X = concat_C(x0, x1), first enlarged x2 by nearest neighbour when `upsample` is set;
// neither the concatenation nor the enlarged image is ever built.
//   N, H, W    batch and size of the *stored* inputs x0, x1 (before enlargement)
//   C0, C1     channels of x0 and of x1 (0: there is no second tensor)
//   K          output channels            R, S   filter height and width, odd, R = S in {1, 3}
//   stride     1 or 2                     padding R/2 on every side ("same")
// Output size: P = (Hin - 1) / stride + 1 and likewise Q, where Hin = upsample ? 2H : H.
// Requires: upsample implies stride 1 and R = 3; C1 > 0 implies stride 1 and no upsample.
struct ConvShape {
  int64_t n = 0, h = 0, w = 0, c0 = 0, c1 = 0, k = 0, r = 3, s = 3;
  int stride = 1;
  bool upsample = false;

  constexpr int64_t c() const { return c0 + c1; }
  constexpr int64_t in_h() const { return upsample ? 2 * h : h; }
  constexpr int64_t in_w() const { return upsample ? 2 * w : w; }
  constexpr int64_t p() const { return (in_h() - 1) / stride + 1; }
  constexpr int64_t q() const { return (in_w() - 1) / stride + 1; }
  // A multiplication and an addition are 2.
  constexpr int64_t flops() const { return 2 * n * p() * q() * k * r * s * c(); }
};

// y[n,p,q,k] = bias[k] + residual[n,p,q,k]
//            + sum_{r,s,c} weight[k,r,s,c] * X[n, p*stride + r - R/2, q*stride + s - S/2, c]
// Outside the image X is 0. Every element of y is written. y must not alias x0 or x1; it may be
// equal to residual. T and Y are float or bf16, accumulation is f32 (Winograd rungs: max error
// ~1e-5 relative to the largest output; f32 direct rungs ~1e-6). Bit-reproducible, whatever the
// number of threads. `packed` is what conv2d_pack wrote for this shape and weight, or null: then it
// is packed into scratch on the spot. In bf16, weights of an enlarged image that meet the same
// stored pixel, up to four, may have been added up and their sum rounded to bf16: it is off by up
// to 2^-9 of itself. Where Y is not T, which is for the first and the last convolution of a network
// that computes in bf16, weights are f32, and y is what f32 storage would hold, rounded to Y.
template <class T, class Y = T>
struct BasicConv2dArgs {
  using Weight = std::conditional_t<std::is_same_v<T, Y>, T, float>;
  ConvShape shape;
  const T* x0;           // [N, H, W, C0]
  const T* x1;           // [N, H, W, C1] or null
  const Weight* weight;  // [K, R, S, C]
  const Weight* packed;  // or null
  const float* bias;     // [K] or null
  const Y* residual;     // [N, P, Q, K] or null
  Y* y;                  // [N, P, Q, K]
};
using Conv2dArgs = BasicConv2dArgs<float>;
template <class T, class Y>
void check(const BasicConv2dArgs<T, Y>&);

// A 1x1 convolution of another input, added to one:
//   bias[k] + sum_c weight[k,c] concat(x0, x1)[n,p,q,c]
struct ConvShortcut {
  int64_t c0 = 0, c1 = 0;
  const bf16* x0 = nullptr;      // [N, P, Q, C0]; null: there is no shortcut
  const bf16* x1 = nullptr;      // [N, P, Q, C1] or null
  const bf16* weight = nullptr;  // [K, C0 + C1]
  const float* bias = nullptr;   // [K] or null
};

// conv2d of what group norm and SiLU make of X, which is not stored: with a, b of the sample n
// (kernels/group_norm.h: NormCoefficientsArgs) and z = a[c] X[n,h,w,c] + b[c], the filter sees
//   z * sigmoid(z), rounded to bf16
// inside the image and 0 outside. With a shortcut, that is added, and there is no residual; y must
// not alias its inputs either.
struct NormalisedConv2dArgs {
  BasicConv2dArgs<bf16> conv;
  const float* coefficients;  // [N, 2, C], a first
  ConvShortcut shortcut = {};
};
void check(const NormalisedConv2dArgs&);

// Where that pays against storing it: each 64 outputs normalise what they read for themselves, the
// images are small enough that it is read once (cuda: conv2d_mma_strip.cu), and channels come in
// eights.
constexpr bool normalisation_joins(const ConvShape& s) {
  return s.r == 3 && s.stride == 1 && !s.upsample && s.w <= 32 && s.k <= 128 &&
         (s.c0 | s.c1 | s.k) % 8 == 0;
}

// dX = transpose of the above with respect to X, split into dx0, dx1 and summed 2x2 when
// upsampling. Every element of dx0 and dx1 is written. `packed` as above, from conv2d_pack with
// backward = true; sums of weights too. T is what dy is stored as, Y what x is; where they differ,
// as above.
template <class T, class Y = T>
struct BasicConv2dBackwardInputArgs {
  using Weight = typename BasicConv2dArgs<T, Y>::Weight;
  ConvShape shape;
  const T* dy;           // [N, P, Q, K]
  const Weight* weight;  // [K, R, S, C]
  const Weight* packed;  // or null
  Y* dx0;                // [N, H, W, C0]
  Y* dx1;                // [N, H, W, C1] or null
};
using Conv2dBackwardInputArgs = BasicConv2dBackwardInputArgs<float>;
template <class T, class Y>
void check(const BasicConv2dBackwardInputArgs<T, Y>&);

// dweight[k,r,s,c] = sum_{n,p,q} dy[n,p,q,k] * X[n, p*stride + r - R/2, q*stride + s - S/2, c]
// dbias[k] = sum_{n,p,q} dy[n,p,q,k]. Both are overwritten, in f32 whatever T
// is: they are gradients of master weights. Bit-reproducible. T is what dy is stored as, X what x
// is; they may differ where the f32 side has few channels: weight_gradient_of_few.
template <class T, class X = T>
struct BasicConv2dBackwardWeightArgs {
  ConvShape shape;
  const X* x0;     // [N, H, W, C0]
  const X* x1;     // [N, H, W, C1] or null
  const T* dy;     // [N, P, Q, K]
  float* dweight;  // [K, R, S, C]
  float* dbias;    // [K] or null
};
using Conv2dBackwardWeightArgs = BasicConv2dBackwardWeightArgs<float>;
template <class T, class X>
void check(const BasicConv2dBackwardWeightArgs<T, X>&);

// As the first and the last convolution of a network have them; `few` and `many` are C and K, or
// the other way round.
constexpr bool weight_gradient_of_few(const ConvShape& s, int64_t few, int64_t many) {
  return s.r == 3 && s.stride == 1 && !s.upsample && s.c1 == 0 && few <= 8 && many % 8 == 0 &&
         s.w <= 640;
}

// Rearranges a weight once for the algorithm that the target would choose for this shape (register
// tiles, Winograd transform), so that inference does not repeat it in each call.
// Two calls: with packed = null, *elements receives the size needed (0: this shape wants no
// packing); then packed points at that many elements and is filled. The layout is private to the
// target; it depends on the shape only through (c0, c1, k, r, s, stride, upsample), never on n, h
// or w: one packed weight serves every batch size and resolution.
template <class T>
struct BasicConv2dPackArgs {
  ConvShape shape;
  bool backward;      // for conv2d_backward_input instead of conv2d
  const T* weight;    // [K, R, S, C]
  T* packed;          // or null: ask for the size
  int64_t* elements;  // receives the size when packed is null
};
using Conv2dPackArgs = BasicConv2dPackArgs<float>;
template <class T>
void check(const BasicConv2dPackArgs<T>&);

}  // namespace diffscm::kernels
