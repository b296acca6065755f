// Pooling and the attention pool's tokens. In NHWC the channels of a pixel are contiguous, so every
// inner loop runs over channels and vectorises whatever the window.
#include <cstring>

#include "kernels/cpu/clones.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/table.h"

namespace diffscm::kernels::cpu {
namespace {

// One output row: the mean of two input rows, pairs of pixels.
DIFFSCM_INLINE void pool_row_leaf(int64_t w_out, int64_t c, const float* top, const float* bottom,
                                  float* y) {
  for (int64_t q = 0; q < w_out; ++q) {
    const float* t = top + 2 * q * c;
    const float* b = bottom + 2 * q * c;
    float* out = y + q * c;
#pragma GCC ivdep
    for (int64_t i = 0; i < c; ++i) out[i] = 0.25f * ((t[i] + t[i + c]) + (b[i] + b[i + c]));
  }
}
constexpr Clones<pool_row_leaf> pool_row;

// One input row: a quarter of the output gradient, the dropped column zero.
DIFFSCM_INLINE void unpool_row_leaf(int64_t w, int64_t c, const float* dy, float* dx) {
  const int64_t w_out = w / 2;
  for (int64_t q = 0; q < w_out; ++q) {
    const float* in = dy + q * c;
    float* out = dx + 2 * q * c;
#pragma GCC ivdep
    for (int64_t i = 0; i < c; ++i) {
      out[i] = 0.25f * in[i];
      out[i + c] = 0.25f * in[i];
    }
  }
  for (int64_t i = 2 * w_out * c; i < w * c; ++i) dx[i] = 0.0f;
}
constexpr Clones<unpool_row_leaf> unpool_row;

// A NaN anywhere in the window wins, wherever it stands.
inline float larger(float a, float b) {
  return b > a || b != b ? b : a;
}

DIFFSCM_INLINE void max_pool_row_leaf(int64_t w_out, int64_t c, const float* top,
                                      const float* bottom, float* y) {
  for (int64_t q = 0; q < w_out; ++q) {
    const float* t = top + 2 * q * c;
    const float* b = bottom + 2 * q * c;
    float* out = y + q * c;
#pragma GCC ivdep
    for (int64_t i = 0; i < c; ++i) out[i] = larger(larger(t[i], t[i + c]), larger(b[i], b[i + c]));
  }
}
constexpr Clones<max_pool_row_leaf> max_pool_row;

// Two input rows of dx: dy where the first largest element of the window stood.
DIFFSCM_INLINE void max_unpool_rows_leaf(int64_t w, int64_t c, const float* top,
                                         const float* bottom, const float* dy, float* dx_top,
                                         float* dx_bottom) {
  const int64_t w_out = w / 2;
  for (int64_t q = 0; q < w_out; ++q) {
    const int64_t left = 2 * q * c, right = left + c;
#pragma GCC ivdep
    for (int64_t i = 0; i < c; ++i) {
      const float a = top[left + i], b = top[right + i], d = bottom[left + i],
                  e = bottom[right + i], g = dy[q * c + i];
      const float above = larger(a, b), below = larger(d, e);
      const bool lower = below > above || below != below;
      const bool right_above = b > a || b != b, right_below = e > d || e != e;
      dx_top[left + i] = !lower && !right_above ? g : 0.0f;
      dx_top[right + i] = !lower && right_above ? g : 0.0f;
      dx_bottom[left + i] = lower && !right_below ? g : 0.0f;
      dx_bottom[right + i] = lower && right_below ? g : 0.0f;
    }
  }
  for (int64_t i = 2 * w_out * c; i < w * c; ++i) dx_top[i] = dx_bottom[i] = 0.0f;
}
constexpr Clones<max_unpool_rows_leaf> max_unpool_rows;

DIFFSCM_INLINE void make_tokens_leaf(int64_t hw, int64_t c, const float* x, const float* position,
                                     float* y) {
  // Token 0 first holds the sum of the pixels; its row of y is the accumulator.
#pragma GCC ivdep
  for (int64_t i = 0; i < c; ++i) y[i] = 0.0f;
  for (int64_t t = 0; t < hw; ++t) {
    const float* in = x + t * c;
    const float* p = position + (t + 1) * c;
    float* out = y + (t + 1) * c;
#pragma GCC ivdep
    for (int64_t i = 0; i < c; ++i) {
      y[i] += in[i];
      out[i] = in[i] + p[i];
    }
  }
  const float scale = 1.0f / static_cast<float>(hw);
#pragma GCC ivdep
  for (int64_t i = 0; i < c; ++i) y[i] = y[i] * scale + position[i];
}
constexpr Clones<make_tokens_leaf> make_tokens;

DIFFSCM_INLINE void pixel_gradients_leaf(int64_t hw, int64_t c, const float* dy, float* dx) {
  const float scale = 1.0f / static_cast<float>(hw);
  for (int64_t t = 0; t < hw; ++t) {
    const float* in = dy + (t + 1) * c;
    float* out = dx + t * c;
#pragma GCC ivdep
    for (int64_t i = 0; i < c; ++i) out[i] = in[i] + scale * dy[i];
  }
}
constexpr Clones<pixel_gradients_leaf> pixel_gradients;

// Sum over samples, in their order, of one range of the [HW+1, C] positions.
DIFFSCM_INLINE void sum_samples_leaf(int64_t n, int64_t stride, int64_t count, const float* dy,
                                     float* sum) {
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) sum[i] = 0.0f;
  for (int64_t s = 0; s < n; ++s) {
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) sum[i] += dy[s * stride + i];
  }
}
constexpr Clones<sum_samples_leaf> sum_samples;

}  // namespace

void avg_pool(const AvgPoolArgs& args, Stream) {
  const int64_t h_out = args.h / 2, w_out = args.w / 2, row = args.w * args.c;
  if (args.n * h_out * w_out == 0) return;
  parallel_tasks(args.n * h_out, args.n * args.h * row, [&](int64_t task) {
    const float* top = args.x + (task / h_out * args.h + 2 * (task % h_out)) * row;
    pool_row(w_out, args.c, top, top + row, args.y + task * w_out * args.c);
  });
}

void avg_pool_backward(const AvgPoolBackwardArgs& args, Stream) {
  if (args.n == 0) return;
  const int64_t h_out = args.h / 2, w_out = args.w / 2, row = args.w * args.c;
  parallel_tasks(args.n * args.h, args.n * args.h * row, [&](int64_t task) {
    const int64_t n = task / args.h, p = task % args.h / 2;
    float* dx = args.dx + task * row;
    if (p < h_out)
      unpool_row(args.w, args.c, args.dy + (n * h_out + p) * w_out * args.c, dx);
    else
      std::memset(dx, 0, static_cast<size_t>(row) * sizeof(float));
  });
}

void max_pool(const MaxPoolArgs& args, Stream) {
  const int64_t h_out = args.h / 2, w_out = args.w / 2, row = args.w * args.c;
  if (args.n * h_out * w_out == 0) return;
  parallel_tasks(args.n * h_out, args.n * args.h * row, [&](int64_t task) {
    const float* top = args.x + (task / h_out * args.h + 2 * (task % h_out)) * row;
    max_pool_row(w_out, args.c, top, top + row, args.y + task * w_out * args.c);
  });
}

void max_pool_backward(const MaxPoolBackwardArgs& args, Stream) {
  if (args.n == 0) return;
  const int64_t h_out = args.h / 2, w_out = args.w / 2, row = args.w * args.c;
  parallel_tasks(args.n, args.n * args.h * row, [&](int64_t n) {
    const float* x = args.x + n * args.h * row;
    float* dx = args.dx + n * args.h * row;
    for (int64_t p = 0; p < h_out; ++p)
      max_unpool_rows(args.w, args.c, x + 2 * p * row, x + (2 * p + 1) * row,
                      args.dy + (n * h_out + p) * w_out * args.c, dx + 2 * p * row,
                      dx + (2 * p + 1) * row);
    if (args.h % 2 == 1)
      std::memset(dx + (args.h - 1) * row, 0, static_cast<size_t>(row) * sizeof(float));
  });
}

void pool_tokens(const PoolTokensArgs& args, Stream) {
  if (args.n == 0) return;
  parallel_tasks(args.n, args.n * args.hw * args.c, [&](int64_t n) {
    make_tokens(args.hw, args.c, args.x + n * args.hw * args.c, args.position,
                args.y + n * (args.hw + 1) * args.c);
  });
}

void pool_tokens_backward(const PoolTokensBackwardArgs& args, Stream) {
  const int64_t tokens = (args.hw + 1) * args.c;
  if (args.dx) {
    parallel_tasks(args.n, args.n * tokens, [&](int64_t n) {
      pixel_gradients(args.hw, args.c, args.dy + n * tokens, args.dx + n * args.hw * args.c);
    });
  }
  if (args.dposition) {
    // With no samples this writes zeros: the gradient of an empty sum.
    parallel_ranges(tokens, 1024, [&](int64_t begin, int64_t end) {
      sum_samples(args.n, tokens, end - begin, args.dy + begin, args.dposition + begin);
    });
  }
}

}  // namespace diffscm::kernels::cpu
