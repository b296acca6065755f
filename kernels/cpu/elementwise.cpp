// Small elementwise operators. All are bound by memory (SiLU nearly so), so each is one loop over a
// range that fits the first-level cache several times over; ranges are shared out to the threads.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/cpu/clones.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu/vector_math.h"

namespace diffscm::kernels::cpu {
namespace {

constexpr int64_t kGrain = 1 << 14;

// `ivdep`: the contracts allow an output to *be* an input, and then each element depends on itself
// alone. Without it gcc's overlap check would send that case down the scalar path.
DIFFSCM_INLINE void combine_leaf(int64_t n, float a, const float* x, float b, const float* z,
                                 float* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = a * x[i] + b * z[i];
}
constexpr Clones<combine_leaf> combine;

DIFFSCM_INLINE void multiply_leaf(int64_t n, float a, const float* x, float* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = a * x[i];
}
constexpr Clones<multiply_leaf> multiply;

DIFFSCM_INLINE void silu_range_leaf(int64_t n, const float* x, float* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] * sigmoid(x[i]);
}
constexpr Clones<silu_range_leaf> silu_range;

DIFFSCM_INLINE void silu_backward_range_leaf(int64_t n, const float* x, const float* dy,
                                             float* dx) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const float s = sigmoid(x[i]);
    dx[i] = dy[i] * (s + x[i] * s * (1.0f - s));
  }
}
constexpr Clones<silu_backward_range_leaf> silu_backward_range;

DIFFSCM_INLINE void relu_range_leaf(int64_t n, const float* x, float* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] < 0.0f ? 0.0f : x[i];  // a NaN stays one
}
constexpr Clones<relu_range_leaf> relu_range;

DIFFSCM_INLINE void relu_backward_range_leaf(int64_t n, const float* y, const float* dy,
                                             float* dx) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) dx[i] = y[i] > 0.0f ? dy[i] : 0.0f;
}
constexpr Clones<relu_backward_range_leaf> relu_backward_range;

}  // namespace

void relu(const ReluArgs& args, Stream) {
  if (args.n == 0) return;
  parallel_ranges(args.n, kGrain, [&](int64_t begin, int64_t end) {
    relu_range(end - begin, args.x + begin, args.y + begin);
  });
}

void relu_backward(const ReluBackwardArgs& args, Stream) {
  if (args.n == 0) return;
  parallel_ranges(args.n, kGrain, [&](int64_t begin, int64_t end) {
    relu_backward_range(end - begin, args.y + begin, args.dy + begin, args.dx + begin);
  });
}

void linear_combination(const LinearCombinationArgs& args, Stream) {
  if (args.n == 0) return;
  parallel_ranges(args.n, kGrain, [&](int64_t begin, int64_t end) {
    if (args.z)
      combine(end - begin, args.a, args.x + begin, args.b, args.z + begin, args.y + begin);
    else
      multiply(end - begin, args.a, args.x + begin, args.y + begin);
  });
}

void silu(const SiluArgs& args, Stream) {
  if (args.n == 0) return;
  parallel_ranges(args.n, kGrain, [&](int64_t begin, int64_t end) {
    silu_range(end - begin, args.x + begin, args.y + begin);
  });
}

void silu_backward(const SiluBackwardArgs& args, Stream) {
  if (args.n == 0) return;
  parallel_ranges(args.n, kGrain, [&](int64_t begin, int64_t end) {
    silu_backward_range(end - begin, args.x + begin, args.dy + begin, args.dx + begin);
  });
}

void timestep_embedding(const TimestepEmbeddingArgs& args, Stream) {
  if (args.n == 0) return;
  const int64_t half = args.channels / 2, steps = args.last_frequency ? half - 1 : half;
  const int64_t apart = args.last_frequency ? 2 : 1, sine = args.last_frequency ? 1 : half;
  // sin and cos in double cost tens of nanoseconds each: count them as that much work.
  parallel_tasks(args.n, args.n * args.channels * 16, [&](int64_t n) {
    float* emb = args.emb + n * args.channels;
    for (int64_t i = 0; i < half; ++i) {
      const double frequency = std::exp(-std::log(10000.0) * static_cast<double>(i) / steps);
      const double angle = static_cast<double>(args.t[n]) * frequency;
      emb[i * apart] = static_cast<float>(std::cos(angle));
      emb[i * apart + sine] = static_cast<float>(std::sin(angle));
    }
  });
}

void combine_samples(const CombineSamplesArgs& args, Stream) {
  if (args.n * args.elements == 0) return;
  parallel_tasks(args.n, args.n * args.elements, [&](int64_t n) {
    const int64_t at = n * args.elements;
    if (args.z)
      combine(args.elements, args.a[n], args.x + at, args.b[n], args.z + at, args.y + at);
    else
      multiply(args.elements, args.a[n], args.x + at, args.y + at);
  });
}

void gather_rows(const GatherRowsArgs& args, Stream) {
  for (int64_t i = 0; i < args.n; ++i)
    require(args.rows[i] >= 0 && args.rows[i] < args.rows_of_x,
            "gather_rows: row {} (number {}) is outside 0 .. {}", args.rows[i], i,
            args.rows_of_x - 1);
  if (args.elements == 0) return;
  parallel_tasks(args.n, args.n * args.elements, [&](int64_t i) {
    std::copy_n(args.x + args.rows[i] * args.elements, args.elements, args.y + i * args.elements);
  });
}

}  // namespace diffscm::kernels::cpu
