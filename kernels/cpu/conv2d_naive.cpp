// The naive rung: the sums of kernels/conv2d.h as plain loops, one output element at a time.
//
// It is here to be read first and to check the other rungs against. Each parallel loop runs over
// independent outputs, so the number of threads cannot change a result.
#include "kernels/cpu/conv2d_rungs.h"
#include "kernels/cpu/parallel.h"

namespace diffscm::kernels::cpu::naive {
namespace {

// Element (n, h, w, c) of X: the concatenated, possibly enlarged input, 0 outside the image.
float input_at(const ConvShape& s, const float* x0, const float* x1, int64_t n, int64_t h,
               int64_t w, int64_t c) {
  if (h < 0 || h >= s.in_h() || w < 0 || w >= s.in_w()) return 0.0f;
  if (s.upsample) h /= 2, w /= 2;
  const int64_t pixel = (n * s.h + h) * s.w + w;
  return c < s.c0 ? x0[pixel * s.c0 + c] : x1[pixel * s.c1 + (c - s.c0)];
}

// dX at (n, h, w, c) of the enlarged image: every output that this input element fed.
float input_gradient_at(const Conv2dBackwardInputArgs& a, int64_t n, int64_t h, int64_t w,
                        int64_t c) {
  const ConvShape& s = a.shape;
  float sum = 0.0f;
  for (int64_t r = 0; r < s.r; ++r) {
    const int64_t top = h - r + s.r / 2;  // = p * stride
    if (top < 0 || top % s.stride != 0 || top / s.stride >= s.p()) continue;
    for (int64_t t = 0; t < s.s; ++t) {
      const int64_t left = w - t + s.s / 2;  // = q * stride
      if (left < 0 || left % s.stride != 0 || left / s.stride >= s.q()) continue;
      const float* dy = a.dy + ((n * s.p() + top / s.stride) * s.q() + left / s.stride) * s.k;
      for (int64_t k = 0; k < s.k; ++k)
        sum += dy[k] * a.weight[((k * s.r + r) * s.s + t) * s.c() + c];
    }
  }
  return sum;
}

}  // namespace

void conv2d(const Conv2dArgs& a) {
  const ConvShape& s = a.shape;
  parallel_tasks_if(worth_threads(s), s.n * s.p(), [&](int64_t row) {
    const int64_t n = row / s.p(), p = row % s.p();
    for (int64_t q = 0; q < s.q(); ++q)
      for (int64_t k = 0; k < s.k; ++k) {
        float sum = a.bias ? a.bias[k] : 0.0f;
        for (int64_t r = 0; r < s.r; ++r)
          for (int64_t t = 0; t < s.s; ++t)
            for (int64_t c = 0; c < s.c(); ++c)
              sum += a.weight[((k * s.r + r) * s.s + t) * s.c() + c] *
                     input_at(s, a.x0, a.x1, n, p * s.stride + r - s.r / 2,
                              q * s.stride + t - s.s / 2, c);
        const int64_t out = ((n * s.p() + p) * s.q() + q) * s.k + k;
        a.y[out] = a.residual ? sum + a.residual[out] : sum;
      }
  });
}

void conv2d_backward_input(const Conv2dBackwardInputArgs& a) {
  const ConvShape& s = a.shape;
  const int64_t scale = s.upsample ? 2 : 1;
  parallel_tasks_if(worth_threads(s), s.n * s.h, [&](int64_t row) {
    const int64_t n = row / s.h, h = row % s.h;
    for (int64_t w = 0; w < s.w; ++w)
      for (int64_t c = 0; c < s.c(); ++c) {
        float sum = 0.0f;
        for (int64_t i = 0; i < scale; ++i)
          for (int64_t j = 0; j < scale; ++j)
            sum += input_gradient_at(a, n, h * scale + i, w * scale + j, c);
        const int64_t pixel = (n * s.h + h) * s.w + w;
        if (c < s.c0)
          a.dx0[pixel * s.c0 + c] = sum;
        else
          a.dx1[pixel * s.c1 + (c - s.c0)] = sum;
      }
  });
}

void conv2d_backward_weight(const Conv2dBackwardWeightArgs& a) {
  const ConvShape& s = a.shape;
  parallel_tasks_if(worth_threads(s), s.k, [&](int64_t k) {
    for (int64_t r = 0; r < s.r; ++r)
      for (int64_t t = 0; t < s.s; ++t)
        for (int64_t c = 0; c < s.c(); ++c) {
          float sum = 0.0f;
          for (int64_t n = 0; n < s.n; ++n)
            for (int64_t p = 0; p < s.p(); ++p)
              for (int64_t q = 0; q < s.q(); ++q)
                sum += a.dy[((n * s.p() + p) * s.q() + q) * s.k + k] *
                       input_at(s, a.x0, a.x1, n, p * s.stride + r - s.r / 2,
                                q * s.stride + t - s.s / 2, c);
          a.dweight[((k * s.r + r) * s.s + t) * s.c() + c] = sum;
        }
    if (a.dbias) {
      float sum = 0.0f;
      for (int64_t pixel = 0; pixel < s.n * s.p() * s.q(); ++pixel) sum += a.dy[pixel * s.k + k];
      a.dbias[k] = sum;
    }
  });
}

}  // namespace diffscm::kernels::cpu::naive
