// Group normalisation, forward: statistics, then scale, shift, SiLU and dropout in one pass.
//
// First pass: per channel and chunk, the sum and the sum of squared deviations from the chunk's own
// mean (the chunk is still in the first-level cache for its second reading). They combine exactly
// into the group's variance (Chan, Golub & LeVeque 1983), so nothing cancels however large the
// mean. Second pass: everything that is linear in x is one multiply-add per element, y = silu(x
// a[c] + b[c]).
#include "kernels/cpu/group_norm_plan.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu/vector_math.h"

namespace diffscm::kernels::cpu {

namespace {

// sum[c] and squares[c] = sum of (x - sum / rows)^2 over `rows` pixels of `channels` channels.
DIFFSCM_INLINE void channel_moments_leaf(int64_t rows, int64_t channels, const float* x, float* sum,
                                         float* squares) {
  for (int64_t i = 0; i < channels; ++i) sum[i] = squares[i] = 0.0f;
  int64_t r = 0;
  // Four pixels per step: the running sums are loaded and stored once for the four.
  for (; r + 4 <= rows; r += 4) {
    const float* p = x + r * channels;
#pragma GCC ivdep
    for (int64_t i = 0; i < channels; ++i) {
      sum[i] += (p[i] + p[i + channels]) + (p[i + 2 * channels] + p[i + 3 * channels]);
    }
  }
  for (; r < rows; ++r) {
    const float* p = x + r * channels;
#pragma GCC ivdep
    for (int64_t i = 0; i < channels; ++i) sum[i] += p[i];
  }
  const float inverse = 1.0f / static_cast<float>(rows);
  for (r = 0; r + 4 <= rows; r += 4) {
    const float* p = x + r * channels;
#pragma GCC ivdep
    for (int64_t i = 0; i < channels; ++i) {
      const float mean = sum[i] * inverse;
      const float d0 = p[i] - mean, d1 = p[i + channels] - mean;
      const float d2 = p[i + 2 * channels] - mean, d3 = p[i + 3 * channels] - mean;
      squares[i] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
    }
  }
  for (; r < rows; ++r) {
    const float* p = x + r * channels;
#pragma GCC ivdep
    for (int64_t i = 0; i < channels; ++i) {
      const float d = p[i] - sum[i] * inverse;
      squares[i] += d * d;
    }
  }
}
constexpr Clones<channel_moments_leaf> channel_moments;

DIFFSCM_INLINE void add_double_leaf(int64_t n, const float* x, double* sum) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) sum[i] += static_cast<double>(x[i]);
}
constexpr Clones<add_double_leaf> add_double;

// total[c] += squares[c] + rows (sum[c] / rows - mean[c])^2: a chunk's deviations, moved to the
// mean of its group.
DIFFSCM_INLINE void add_deviations_leaf(int64_t n, double rows, const float* sum,
                                        const float* squares, const double* mean, double* total) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const double d = static_cast<double>(sum[i]) / rows - mean[i];
    total[i] += static_cast<double>(squares[i]) + rows * (d * d);
  }
}
constexpr Clones<add_deviations_leaf> add_deviations;

template <bool kSilu, bool kDrop>
DIFFSCM_INLINE void apply_rows(int64_t rows, const Half& half, int64_t c, const float* x,
                               const float* a, const float* b, const uint16_t* draws,
                               DropoutScale drop, float* y) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * half.channels;
    const uint16_t* draw = draws + (kDrop ? r * c : 0);
    float* out = y + r * c;
#pragma GCC ivdep
    for (int64_t i = 0; i < half.channels; ++i) {
      float z = in[i] * a[i] + b[i];
      if constexpr (kSilu) z = z * sigmoid(z);
      if constexpr (kDrop) z = draw[i] < drop.threshold ? 0.0f : z * drop.scale;
      out[i] = z;
    }
  }
}

// y, a, b and draws point at the half's first channel; draws is null without dropout.
DIFFSCM_INLINE void apply_leaf(int64_t rows, const Half& half, int64_t c, bool silu, const float* x,
                               const float* a, const float* b, const uint16_t* draws,
                               DropoutScale drop, float* y) {
  if (silu && draws) return apply_rows<true, true>(rows, half, c, x, a, b, draws, drop, y);
  if (silu) return apply_rows<true, false>(rows, half, c, x, a, b, draws, drop, y);
  if (draws) return apply_rows<false, true>(rows, half, c, x, a, b, draws, drop, y);
  apply_rows<false, false>(rows, half, c, x, a, b, draws, drop, y);
}
constexpr Clones<apply_leaf> apply;

const float* input(const GroupNormArgs& args, const GroupNormPlan& plan, int which, int64_t n,
                   int64_t row) {
  const float* x = which == 0 ? args.x0 : args.x1;
  return x + (n * plan.hw + row) * half_of(plan, which).channels;
}

// From the chunks' moments ([chunks][2][C]) to mean and rstd of each group and to a and b of each
// channel (coefficients, [2][C]).
void finish_sample(const GroupNormArgs& args, const GroupNormPlan& plan, int64_t n,
                   const float* moments, float* coefficients) {
  thread_local Scratch<double> scratch;
  const int64_t c = plan.c, d = plan.group_channels;
  double* sum = scratch.get(3 * c);
  double* mean = sum + c;
  double* total = mean + c;
  std::fill(sum, sum + c, 0.0);
  std::fill(total, total + c, 0.0);
  const double count = static_cast<double>(plan.hw * d);

  for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) add_double(c, moments + 2 * chunk * c, sum);
  for (int64_t g = 0; g < plan.groups; ++g) {
    double group_sum = 0;
    for (int64_t i = g * d; i < (g + 1) * d; ++i) group_sum += sum[i];
    for (int64_t i = g * d; i < (g + 1) * d; ++i) mean[i] = group_sum / count;
  }
  for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
    const float* chunk_sum = moments + 2 * chunk * c;
    add_deviations(c, static_cast<double>(plan.rows(chunk)), chunk_sum, chunk_sum + c, mean, total);
  }
  const float* scale = args.scale_shift ? args.scale_shift + n * 2 * c : nullptr;
  for (int64_t g = 0; g < plan.groups; ++g) {
    double group_total = 0;
    for (int64_t i = g * d; i < (g + 1) * d; ++i) group_total += total[i];
    const double rstd = 1.0 / std::sqrt(group_total / count + static_cast<double>(args.eps));
    args.mean[n * plan.groups + g] = static_cast<float>(mean[g * d]);
    args.rstd[n * plan.groups + g] = static_cast<float>(rstd);
    for (int64_t i = g * d; i < (g + 1) * d; ++i) {
      double a = rstd * static_cast<double>(args.gamma[i]);
      double b = static_cast<double>(args.beta[i]) - mean[i] * a;
      if (scale) {
        a *= 1.0 + static_cast<double>(scale[i]);
        b = b * (1.0 + static_cast<double>(scale[i])) + static_cast<double>(scale[c + i]);
      }
      coefficients[i] = static_cast<float>(a);
      coefficients[c + i] = static_cast<float>(b);
    }
  }
}

}  // namespace

void group_norm(const GroupNormArgs& args, Stream) {
  if (args.n == 0) return;
  const GroupNormPlan plan(args);
  const int64_t c = plan.c;
  const int64_t stride = 2 * c * (plan.chunks + 1);  // per sample: moments, then coefficients
  const Dropout dropout = resolved(args.dropout);
  const bool drops = dropout.rate > 0;
  const DropoutScale drop = dropout_scale(dropout);
  thread_local Scratch<float> scratch;
  float* memory = scratch.get(args.n * stride);

  const auto first = [&](int64_t n, int64_t chunk) {
    float* sum = memory + n * stride + 2 * chunk * c;
    for (int which = 0; which < (plan.c1 > 0 ? 2 : 1); ++which) {
      const Half half = half_of(plan, which);
      channel_moments(plan.rows(chunk), half.channels,
                      input(args, plan, which, n, plan.first_row(chunk)), sum + half.offset,
                      sum + c + half.offset);
    }
  };
  const auto middle = [&](int64_t n) {
    float* moments = memory + n * stride;
    finish_sample(args, plan, n, moments, moments + 2 * plan.chunks * c);
  };
  const auto last = [&](int64_t n, int64_t chunk) {
    thread_local Scratch<uint32_t> words;
    const float* a = memory + n * stride + 2 * plan.chunks * c;
    const int64_t row = plan.first_row(chunk), rows = plan.rows(chunk);
    const uint16_t* draws = drops ? dropout_draws(dropout, n, row * c, rows * c, words) : nullptr;
    for (int which = 0; which < (plan.c1 > 0 ? 2 : 1); ++which) {
      const Half half = half_of(plan, which);
      apply(rows, half, c, args.silu, input(args, plan, which, n, row), a + half.offset,
            a + c + half.offset, drops ? draws + half.offset : nullptr, drop,
            args.y + (n * plan.hw + row) * c + half.offset);
    }
  };
  run_two_passes(plan, args.n, threads(), first, middle, last);
}

}  // namespace diffscm::kernels::cpu
