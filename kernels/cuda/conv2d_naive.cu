// Convolution, the naive rung: the sums of kernels/conv2d.h, one thread per element of the result.
//
// It is here to be read first and to check the other rungs against. Neighbouring threads compute
// neighbouring channels of one pixel, so a warp reads the same inputs (one broadcast) and different
// filters; nothing is kept, every operand comes from the caches again for every multiplication.
#include "kernels/cuda/conv2d_rungs.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kThreads = 256;

__device__ int64_t this_element() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

// Element (n, h, w, c) of X: the concatenated, possibly enlarged input, 0 outside the image.
template <class T>
__device__ float input_at(const ConvShape& s, const T* x0, const T* x1, int64_t n, int64_t h,
                          int64_t w, int64_t c) {
  if (h < 0 || h >= s.in_h() || w < 0 || w >= s.in_w()) return 0.0f;
  if (s.upsample) h /= 2, w /= 2;
  const int64_t pixel = (n * s.h + h) * s.w + w;
  return to_float(c < s.c0 ? x0[pixel * s.c0 + c] : x1[pixel * s.c1 + (c - s.c0)]);
}

template <class T, class Y>
__global__ void __launch_bounds__(kThreads) conv2d_naive_kernel(BasicConv2dArgs<T, Y> a) {
  follow_previous_kernel();
  const ConvShape& s = a.shape;
  const int64_t out = this_element();
  if (out >= s.n * s.p() * s.q() * s.k) return;
  const int64_t k = out % s.k, q = out / s.k % s.q(), p = out / (s.k * s.q()) % s.p();
  const int64_t n = out / (s.k * s.q() * s.p());
  float sum = a.bias ? a.bias[k] : 0.0f;
  for (int64_t r = 0; r < s.r; ++r)
    for (int64_t t = 0; t < s.s; ++t)
      for (int64_t c = 0; c < s.c(); ++c)
        sum = fmaf(
            to_float(a.weight[((k * s.r + r) * s.s + t) * s.c() + c]),
            input_at(s, a.x0, a.x1, n, p * s.stride + r - s.r / 2, q * s.stride + t - s.s / 2, c),
            sum);
  if (a.residual) sum += to_float(a.residual[out]);
  a.y[out] = from_float<Y>(sum);
}

// dX at (n, h, w, c) of the enlarged image: every output that this input element fed.
template <class T, class Y>
__device__ float input_gradient_at(const BasicConv2dBackwardInputArgs<T, Y>& a, int64_t n,
                                   int64_t h, int64_t w, int64_t c) {
  const ConvShape& s = a.shape;
  float sum = 0.0f;
  for (int64_t r = 0; r < s.r; ++r) {
    const int64_t top = h - r + s.r / 2;  // = p * stride
    if (top < 0 || top % s.stride != 0 || top / s.stride >= s.p()) continue;
    for (int64_t t = 0; t < s.s; ++t) {
      const int64_t left = w - t + s.s / 2;  // = q * stride
      if (left < 0 || left % s.stride != 0 || left / s.stride >= s.q()) continue;
      const T* dy = a.dy + ((n * s.p() + top / s.stride) * s.q() + left / s.stride) * s.k;
      for (int64_t k = 0; k < s.k; ++k)
        sum = fmaf(to_float(dy[k]), to_float(a.weight[((k * s.r + r) * s.s + t) * s.c() + c]), sum);
    }
  }
  return sum;
}

template <class T, class Y>
__global__ void __launch_bounds__(kThreads)
    conv2d_backward_input_naive_kernel(BasicConv2dBackwardInputArgs<T, Y> a) {
  follow_previous_kernel();
  const ConvShape& s = a.shape;
  const int64_t element = this_element();
  if (element >= s.n * s.h * s.w * s.c()) return;
  const int64_t c = element % s.c(), pixel = element / s.c();
  const int64_t w = pixel % s.w, h = pixel / s.w % s.h, n = pixel / (s.w * s.h);
  const int scale = s.upsample ? 2 : 1;
  float sum = 0.0f;
  for (int i = 0; i < scale; ++i)
    for (int j = 0; j < scale; ++j) sum += input_gradient_at(a, n, h * scale + i, w * scale + j, c);
  if (c < s.c0)
    a.dx0[pixel * s.c0 + c] = from_float<Y>(sum);
  else
    a.dx1[pixel * s.c1 + (c - s.c0)] = from_float<Y>(sum);
}

// The K elements of dbias follow those of dweight.
template <class T>
__global__ void __launch_bounds__(kThreads)
    conv2d_backward_weight_naive_kernel(BasicConv2dBackwardWeightArgs<T> a) {
  follow_previous_kernel();
  const ConvShape& s = a.shape;
  const int64_t element = this_element(), weights = s.k * s.r * s.s * s.c();
  if (element >= weights) {
    const int64_t k = element - weights;
    if (k >= s.k || !a.dbias) return;
    float sum = 0.0f;
    for (int64_t pixel = 0; pixel < s.n * s.p() * s.q(); ++pixel)
      sum += to_float(a.dy[pixel * s.k + k]);
    a.dbias[k] = sum;
    return;
  }
  const int64_t c = element % s.c(), t = element / s.c() % s.s, r = element / (s.c() * s.s) % s.r;
  const int64_t k = element / (s.c() * s.s * s.r);
  float sum = 0.0f;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < s.p(); ++p)
      for (int64_t q = 0; q < s.q(); ++q)
        sum = fmaf(
            to_float(a.dy[((n * s.p() + p) * s.q() + q) * s.k + k]),
            input_at(s, a.x0, a.x1, n, p * s.stride + r - s.r / 2, q * s.stride + t - s.s / 2, c),
            sum);
  a.dweight[element] = sum;
}

template <auto kernel, class Args>
void launch_elements(int64_t elements, const Args& args, Stream stream) {
  launch<kernel>(static_cast<unsigned>(ceil_div(elements, kThreads)), kThreads, 0, stream, args);
}

}  // namespace

template <class T, class Y>
void conv2d_naive(const BasicConv2dArgs<T, Y>& args, Stream stream) {
  const ConvShape& s = args.shape;
  launch_elements<conv2d_naive_kernel<T, Y>>(s.n * s.p() * s.q() * s.k, args, stream);
}
template <class T, class Y>
void conv2d_backward_input_naive(const BasicConv2dBackwardInputArgs<T, Y>& args, Stream stream) {
  const ConvShape& s = args.shape;
  launch_elements<conv2d_backward_input_naive_kernel<T, Y>>(s.n * s.h * s.w * s.c(), args, stream);
}
template <class T>
void conv2d_backward_weight_naive(const BasicConv2dBackwardWeightArgs<T>& args, Stream stream) {
  const ConvShape& s = args.shape;
  launch_elements<conv2d_backward_weight_naive_kernel<T>>(s.k * (s.r * s.s * s.c() + 1), args,
                                                          stream);
}

template void conv2d_naive(const BasicConv2dArgs<float>&, Stream);
template void conv2d_naive(const BasicConv2dArgs<bf16>&, Stream);
template void conv2d_naive(const BasicConv2dArgs<float, bf16>&, Stream);
template void conv2d_naive(const BasicConv2dArgs<bf16, float>&, Stream);
template void conv2d_backward_input_naive(const BasicConv2dBackwardInputArgs<float>&, Stream);
template void conv2d_backward_input_naive(const BasicConv2dBackwardInputArgs<bf16>&, Stream);
template void conv2d_backward_input_naive(const BasicConv2dBackwardInputArgs<float, bf16>&, Stream);
template void conv2d_backward_input_naive(const BasicConv2dBackwardInputArgs<bf16, float>&, Stream);
template void conv2d_backward_weight_naive(const BasicConv2dBackwardWeightArgs<float>&, Stream);
template void conv2d_backward_weight_naive(const BasicConv2dBackwardWeightArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
