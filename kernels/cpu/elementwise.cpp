// Small elementwise operators. All are bound by memory (SiLU nearly so), so each is one loop over a
// range that fits the first-level cache several times over; ranges are shared out to the threads.
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
DIFFSCM_CLONES void combine(int64_t n, float a, const float* x, float b, const float* z, float* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = a * x[i] + b * z[i];
}

DIFFSCM_CLONES void multiply(int64_t n, float a, const float* x, float* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = a * x[i];
}

DIFFSCM_CLONES void silu_range(int64_t n, const float* x, float* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] * sigmoid(x[i]);
}

DIFFSCM_CLONES void silu_backward_range(int64_t n, const float* x, const float* dy, float* dx) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const float s = sigmoid(x[i]);
    dx[i] = dy[i] * (s + x[i] * s * (1.0f - s));
  }
}

DIFFSCM_CLONES void relu_range(int64_t n, const float* x, float* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] < 0.0f ? 0.0f : x[i];  // a NaN stays one
}

DIFFSCM_CLONES void relu_backward_range(int64_t n, const float* y, const float* dy, float* dx) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) dx[i] = y[i] > 0.0f ? dy[i] : 0.0f;
}

}  // namespace

void relu(const ReluArgs& args, Stream) {
  require(args.n >= 0, "relu: n is {}, expected >= 0", args.n);
  if (args.n == 0) return;
  require(args.x && args.y, "relu: x or y is null");
  parallel_ranges(args.n, kGrain, [&](int64_t begin, int64_t end) {
    relu_range(end - begin, args.x + begin, args.y + begin);
  });
}

void relu_backward(const ReluBackwardArgs& args, Stream) {
  require(args.n >= 0, "relu_backward: n is {}, expected >= 0", args.n);
  if (args.n == 0) return;
  require(args.y && args.dy && args.dx, "relu_backward: y, dy or dx is null");
  parallel_ranges(args.n, kGrain, [&](int64_t begin, int64_t end) {
    relu_backward_range(end - begin, args.y + begin, args.dy + begin, args.dx + begin);
  });
}

void linear_combination(const LinearCombinationArgs& args, Stream) {
  require(args.n >= 0, "linear_combination: n is {}, expected >= 0", args.n);
  if (args.n == 0) return;
  require(args.x && args.y, "linear_combination: x or y is null");
  parallel_ranges(args.n, kGrain, [&](int64_t begin, int64_t end) {
    if (args.z)
      combine(end - begin, args.a, args.x + begin, args.b, args.z + begin, args.y + begin);
    else
      multiply(end - begin, args.a, args.x + begin, args.y + begin);
  });
}

void silu(const SiluArgs& args, Stream) {
  require(args.n >= 0, "silu: n is {}, expected >= 0", args.n);
  if (args.n == 0) return;
  require(args.x && args.y, "silu: x or y is null");
  parallel_ranges(args.n, kGrain, [&](int64_t begin, int64_t end) {
    silu_range(end - begin, args.x + begin, args.y + begin);
  });
}

void silu_backward(const SiluBackwardArgs& args, Stream) {
  require(args.n >= 0, "silu_backward: n is {}, expected >= 0", args.n);
  if (args.n == 0) return;
  require(args.x && args.dy && args.dx, "silu_backward: x, dy or dx is null");
  parallel_ranges(args.n, kGrain, [&](int64_t begin, int64_t end) {
    silu_backward_range(end - begin, args.x + begin, args.dy + begin, args.dx + begin);
  });
}

void timestep_embedding(const TimestepEmbeddingArgs& args, Stream) {
  require(args.n >= 0, "timestep_embedding: n is {}, expected >= 0", args.n);
  require(args.channels >= 2 && args.channels % 2 == 0,
          "timestep_embedding: channels is {}, expected an even number >= 2", args.channels);
  if (args.n == 0) return;
  require(args.t && args.emb, "timestep_embedding: t or emb is null");
  const int64_t half = args.channels / 2;
  // sin and cos in double cost tens of nanoseconds each: count them as that much work.
  parallel_tasks(args.n, args.n * args.channels * 16, [&](int64_t n) {
    float* emb = args.emb + n * args.channels;
    for (int64_t i = 0; i < half; ++i) {
      const double frequency = std::exp(-std::log(10000.0) * static_cast<double>(i) / half);
      const double angle = static_cast<double>(args.t[n]) * frequency;
      emb[i] = static_cast<float>(std::cos(angle));
      emb[half + i] = static_cast<float>(std::sin(angle));
    }
  });
}

void add_noise(const AddNoiseArgs& args, Stream) {
  require(args.n >= 0 && args.elements >= 0, "add_noise: n is {} and elements {}, expected >= 0",
          args.n, args.elements);
  if (args.n * args.elements == 0) return;
  require(args.a && args.b && args.x && args.z && args.y, "add_noise: an array is null");
  parallel_tasks(args.n, args.n * args.elements, [&](int64_t n) {
    const int64_t at = n * args.elements;
    combine(args.elements, args.a[n], args.x + at, args.b[n], args.z + at, args.y + at);
  });
}

}  // namespace diffscm::kernels::cpu
