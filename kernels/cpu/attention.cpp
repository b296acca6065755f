// Multi-head self-attention, forward and backward, without a score matrix: a thread holds the
// scores of a few queries, never more than a few rows of T numbers.
//
// One task is one head of one sample. Keys (and in backward values) are transposed into scratch
// once per head, so that a query's scores against all tokens are a sum of scaled rows with the
// vector over tokens; sums over tokens have the vector over the head's channels. Rows are padded to
// whole vectors.
#include <cmath>
#include <limits>

#include "kernels/cpu/clones.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu/vector_math.h"

namespace diffscm::kernels::cpu {
namespace {

constexpr int64_t kLanes = 16;

// One head of one sample. Rows of q, k, v are `stride` apart, rows of out `out_stride`.
struct Head {
  int64_t tokens, queries, width, padded, stride, out_stride;
  const float *q, *k, *v;
  float *out, *lse;
};

Head head_of(const AttentionArgs& a, int64_t task) {
  const int64_t n = task / a.heads, h = task % a.heads, d = a.channels / a.heads;
  const bool per_head = a.layout == QkvLayout::per_head;
  const float* base = a.qkv + n * a.tokens * 3 * a.channels + (per_head ? 3 * h * d : h * d);
  const int64_t step = per_head ? d : a.channels;
  return {.tokens = a.tokens,
          .queries = a.queries,
          .width = d,
          .padded = (a.tokens + kLanes - 1) / kLanes * kLanes,
          .stride = 3 * a.channels,
          .out_stride = a.channels,
          .q = base,
          .k = base + step,
          .v = base + 2 * step,
          .out = a.out + n * a.queries * a.channels + h * d,
          .lse = a.lse + (n * a.heads + h) * a.queries};
}

// y[d][u] = x[u][d], zero for u in [tokens, padded).
DIFFSCM_INLINE void transpose(const Head& h, const float* x, float* y) {
  for (int64_t d = 0; d < h.width; ++d) {
    float* row = y + d * h.padded;
    for (int64_t u = 0; u < h.tokens; ++u) row[u] = x[u * h.stride + d];
    for (int64_t u = h.tokens; u < h.padded; ++u) row[u] = 0.0f;
  }
}

// y[i] = sum_r a[r] x[r * stride + i] (added to y when `add`).
DIFFSCM_INLINE void weighted_rows(int64_t rows, int64_t n, const float* a, const float* x,
                                  int64_t stride, float* y) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const float* p = x + r * stride;
    add_four(n, a + r, p, p + stride, p + 2 * stride, p + 3 * stride, y);
  }
  for (; r < rows; ++r) {
    const float w = a[r];
    const float* p = x + r * stride;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] += w * p[i];
  }
}

DIFFSCM_INLINE void fill_zero(int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = 0.0f;
}

// Sixteen running maxima (sums), then one: a single one would forbid the vector.
DIFFSCM_INLINE float largest(int64_t n, const float* x) {
  float lane[kLanes];
  for (int j = 0; j < kLanes; ++j) lane[j] = x[j];
  for (int64_t i = kLanes; i < n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
  float result = lane[0];
  for (int j = 1; j < kLanes; ++j) result = lane[j] > result ? lane[j] : result;
  return result;
}

DIFFSCM_INLINE float total(int64_t n, const float* x) {
  float lane[kLanes] = {};
  for (int64_t i = 0; i < n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lane[j] += x[i + j];
  float result = 0;
  for (int j = 0; j < kLanes; ++j) result += lane[j];
  return result;
}

// scores[u] = <q, k[u]> / sqrt(D); `scaled` receives q / sqrt(D).
DIFFSCM_INLINE void score_row(const Head& h, const float* q, const float* keys, float* scaled,
                              float* scores) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(h.width));
  for (int64_t d = 0; d < h.width; ++d) scaled[d] = q[d] * scale;
  fill_zero(h.padded, scores);
  weighted_rows(h.width, h.padded, scaled, keys, h.padded, scores);
}

DIFFSCM_INLINE void attend_leaf(const Head& h, float* scratch) {
  float* keys = scratch;
  float* scores = keys + h.width * h.padded;
  float* scaled = scores + h.padded;
  transpose(h, h.k, keys);
  for (int64_t t = 0; t < h.queries; ++t) {
    score_row(h, h.q + t * h.stride, keys, scaled, scores);
    for (int64_t u = h.tokens; u < h.padded; ++u)
      scores[u] = -std::numeric_limits<float>::infinity();
    const float highest = largest(h.padded, scores);
    for (int64_t u = 0; u < h.padded; ++u) scores[u] = fast_exp(scores[u] - highest);
    const float sum = total(h.padded, scores);
    const float inverse = 1.0f / sum;
    h.lse[t] = highest + std::log(sum);
    for (int64_t u = 0; u < h.padded; ++u) scores[u] *= inverse;
    float* out = h.out + t * h.out_stride;
    fill_zero(h.width, out);
    weighted_rows(h.tokens, h.width, scores, h.v, h.stride, out);
  }
}
constexpr Clones<attend_leaf> attend;

// Rows of dq, dk, dv are h.stride apart and hold zeros on entry. p and ds of four queries are kept,
// so that dk and dv are loaded and stored once for the four.
DIFFSCM_INLINE void attend_backward_leaf(const Head& h, const float* dout, float* dq, float* dk,
                                         float* dv, float* scratch) {
  constexpr int64_t kQueries = 4;
  float* keys = scratch;
  float* values = keys + h.width * h.padded;
  float* p = values + h.width * h.padded;
  float* ds = p + kQueries * h.padded;
  float* scaled = ds + kQueries * h.padded;
  const float scale = 1.0f / std::sqrt(static_cast<float>(h.width));
  transpose(h, h.k, keys);
  transpose(h, h.v, values);
  for (int64_t t0 = 0; t0 < h.queries; t0 += kQueries) {
    const int64_t count = h.queries - t0 < kQueries ? h.queries - t0 : kQueries;
    for (int64_t j = 0; j < count; ++j) {
      const int64_t t = t0 + j;
      float* pt = p + j * h.padded;
      float* dst = ds + j * h.padded;
      score_row(h, h.q + t * h.stride, keys, scaled, pt);
      const float* gradient = dout + t * h.out_stride;
      float delta = 0;  // sum_u p[u] dp[u] = <dout, out>
      for (int64_t d = 0; d < h.width; ++d) delta += gradient[d] * h.out[t * h.out_stride + d];
      fill_zero(h.padded, dst);
      weighted_rows(h.width, h.padded, gradient, values, h.padded, dst);
      const float lse = h.lse[t];
      for (int64_t u = 0; u < h.padded; ++u) {
        pt[u] = fast_exp(pt[u] - lse);
        dst[u] = pt[u] * (dst[u] - delta) * scale;
      }
      weighted_rows(h.tokens, h.width, dst, h.k, h.stride, dq + t * h.stride);
    }
    for (int64_t u = 0; u < h.tokens; ++u) {
      float w[kQueries] = {}, wp[kQueries] = {};
      for (int64_t j = 0; j < count; ++j) {
        w[j] = ds[j * h.padded + u];
        wp[j] = p[j * h.padded + u];
      }
      weighted_rows(count, h.width, w, h.q + t0 * h.stride, h.stride, dk + u * h.stride);
      weighted_rows(count, h.width, wp, dout + t0 * h.out_stride, h.out_stride, dv + u * h.stride);
    }
  }
}
constexpr Clones<attend_backward_leaf> attend_backward;

}  // namespace

void attention(const AttentionArgs& args, Stream) {
  const int64_t work = args.n * args.queries * args.tokens * args.channels;
  parallel_tasks(args.n * args.heads, work, [&](int64_t task) {
    thread_local Scratch<float> scratch;
    const Head head = head_of(args, task);
    attend(head, scratch.get(head.width * head.padded + head.padded + head.width));
  });
}

void attention_backward(const AttentionBackwardArgs& args, Stream) {
  const AttentionArgs& f = args.forward;
  const int64_t work = f.n * f.queries * f.tokens * f.channels * 4;
  parallel_tasks(f.n * f.heads, work, [&](int64_t task) {
    thread_local Scratch<float> scratch;
    const Head head = head_of(f, task);
    float* dq = args.dqkv + (head.q - f.qkv);
    float* dk = args.dqkv + (head.k - f.qkv);
    float* dv = args.dqkv + (head.v - f.qkv);
    for (int64_t t = 0; t < head.tokens; ++t) {
      for (float* row : {dq, dk, dv})
        std::fill(row + t * head.stride, row + t * head.stride + head.width, 0.0f);
    }
    attend_backward(head, args.dout + (head.out - f.out), dq, dk, dv,
                    scratch.get(2 * head.width * head.padded + 8 * head.padded + head.width));
  });
}

}  // namespace diffscm::kernels::cpu
