// Group normalisation, backward. With xhat = (x - mean) rstd, w[c] = gamma (1 + scale) and dz the
// gradient behind SiLU and dropout, the contract's formulas come down to two sums per channel,
//   s1[c] = sum dz,  s2[c] = sum dz xhat,
// from which every parameter gradient follows, and with group means m1, m2 of w s1 and w s2
//   dx = rstd (dz w - m1 - xhat m2).
// First pass: dz (the costly part: exponential, division, random draws) and the sums. dz is parked
// in dx itself, so that the second pass is two multiply-adds per element, dx = dz a[c] + x b[c] +
// d[c].
#include "kernels/cpu/group_norm_plan.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu/vector_math.h"

namespace diffscm::kernels::cpu {
namespace {

// Per-channel coefficients of the first pass: z = x a + b, xhat = x rstd + shift.
struct Recompute {
  const float *a, *b, *rstd, *shift;
};

template <bool kSilu, bool kDrop, bool kStore>
DIFFSCM_INLINE void accumulate_rows(int64_t rows, const Half& half, int64_t c, const float* x,
                                    const float* dy, const Recompute& k, const uint16_t* draws,
                                    DropoutScale drop, float* dz, float* s1, float* s2) {
  for (int64_t i = 0; i < half.channels; ++i) s1[i] = s2[i] = 0.0f;
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * half.channels;
    const float* gradient = dy + r * c;
    const uint16_t* draw = draws + (kDrop ? r * c : 0);
    float* out = dz + (kStore ? r * half.channels : 0);
#pragma GCC ivdep
    for (int64_t i = 0; i < half.channels; ++i) {
      float d = gradient[i];
      if constexpr (kDrop) d = draw[i] < drop.threshold ? 0.0f : d * drop.scale;
      if constexpr (kSilu) {
        const float z = in[i] * k.a[i] + k.b[i];
        const float s = sigmoid(z);
        d *= s + z * s * (1.0f - s);
      }
      if constexpr (kStore) out[i] = d;
      s1[i] += d;
      s2[i] += d * (in[i] * k.rstd[i] + k.shift[i]);
    }
  }
}

template <bool kSilu, bool kDrop>
DIFFSCM_INLINE void accumulate_some(int64_t rows, const Half& half, int64_t c, const float* x,
                                    const float* dy, const Recompute& k, const uint16_t* draws,
                                    DropoutScale drop, float* dz, float* s1, float* s2) {
  if (dz)
    accumulate_rows<kSilu, kDrop, true>(rows, half, c, x, dy, k, draws, drop, dz, s1, s2);
  else
    accumulate_rows<kSilu, kDrop, false>(rows, half, c, x, dy, k, draws, drop, dz, s1, s2);
}

// draws is null without dropout, dz is null when dx is not wanted.
DIFFSCM_INLINE void accumulate_leaf(int64_t rows, const Half& half, int64_t c, bool silu,
                                    const float* x, const float* dy, const Recompute& k,
                                    const uint16_t* draws, DropoutScale drop, float* dz, float* s1,
                                    float* s2) {
  if (silu && draws)
    accumulate_some<true, true>(rows, half, c, x, dy, k, draws, drop, dz, s1, s2);
  else if (silu)
    accumulate_some<true, false>(rows, half, c, x, dy, k, draws, drop, dz, s1, s2);
  else if (draws)
    accumulate_some<false, true>(rows, half, c, x, dy, k, draws, drop, dz, s1, s2);
  else
    accumulate_some<false, false>(rows, half, c, x, dy, k, draws, drop, dz, s1, s2);
}
constexpr Clones<accumulate_leaf> accumulate;

DIFFSCM_INLINE void finish_rows_leaf(int64_t rows, int64_t channels, const float* x, const float* a,
                                     const float* b, const float* d, float* dx) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * channels;
    float* out = dx + r * channels;
#pragma GCC ivdep
    for (int64_t i = 0; i < channels; ++i) out[i] = out[i] * a[i] + (in[i] * b[i] + d[i]);
  }
}
constexpr Clones<finish_rows_leaf> finish_rows;

// The same, and `add` to it.
DIFFSCM_INLINE void finish_rows_adding_leaf(int64_t rows, int64_t channels, const float* x,
                                            const float* a, const float* b, const float* d,
                                            const float* add, float* dx) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * channels;
    const float* more = add + r * channels;
    float* out = dx + r * channels;
#pragma GCC ivdep
    for (int64_t i = 0; i < channels; ++i) out[i] = out[i] * a[i] + (in[i] * b[i] + d[i]) + more[i];
  }
}
constexpr Clones<finish_rows_adding_leaf> finish_rows_adding;

DIFFSCM_INLINE void add_to_leaf(int64_t n, const float* x, float* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}
constexpr Clones<add_to_leaf> add_to;

// One sample's piece of scratch, seven rows of C floats and the chunks' sums. `b` and `rstd` of the
// first pass are reused for the second.
struct SampleMemory {
  float *a, *b, *rstd, *shift, *d, *s1, *s2, *partial;

  static int64_t size(const GroupNormPlan& plan) { return plan.c * (7 + 2 * plan.chunks); }
  SampleMemory(float* base, int64_t c)
      : a(base),
        b(a + c),
        rstd(b + c),
        shift(rstd + c),
        d(shift + c),
        s1(d + c),
        s2(s1 + c),
        partial(s2 + c) {}
};

double weight_of(const GroupNormArgs& f, int64_t n, int64_t c, int64_t i) {
  const double scale = f.scale_shift ? static_cast<double>(f.scale_shift[n * 2 * c + i]) : 0.0;
  return 1.0 + scale;
}

void prepare_sample(const GroupNormArgs& f, const GroupNormPlan& plan, int64_t n,
                    const SampleMemory& m) {
  const int64_t c = plan.c, d = plan.group_channels;
  for (int64_t g = 0; g < plan.groups; ++g) {
    const double mean = f.mean[n * plan.groups + g], rstd = f.rstd[n * plan.groups + g];
    for (int64_t i = g * d; i < (g + 1) * d; ++i) {
      const double a = rstd * static_cast<double>(f.gamma[i]);
      const double b = static_cast<double>(f.beta[i]) - mean * a;
      const double scale = weight_of(f, n, c, i);
      const double shift =
          f.scale_shift ? static_cast<double>(f.scale_shift[n * 2 * c + c + i]) : 0.0;
      m.a[i] = static_cast<float>(a * scale);
      m.b[i] = static_cast<float>(b * scale + shift);
      m.rstd[i] = static_cast<float>(rstd);
      m.shift[i] = static_cast<float>(-mean * rstd);
    }
  }
}

// Sums the chunks in order, writes dscale_shift and the coefficients of the second pass.
void finish_sample(const GroupNormBackwardArgs& args, const GroupNormPlan& plan, int64_t n,
                   const SampleMemory& m) {
  const GroupNormArgs& f = args.forward;
  const int64_t c = plan.c, d = plan.group_channels;
  std::copy(m.partial, m.partial + 2 * c, m.s1);
  for (int64_t chunk = 1; chunk < plan.chunks; ++chunk)
    add_to(2 * c, m.partial + 2 * chunk * c, m.s1);
  if (args.dscale_shift) {
    float* dscale = args.dscale_shift + n * 2 * c;
    for (int64_t i = 0; i < c; ++i) {
      dscale[i] = f.gamma[i] * m.s2[i] + f.beta[i] * m.s1[i];
      dscale[c + i] = m.s1[i];
    }
  }
  const double count = static_cast<double>(plan.hw * d);
  for (int64_t g = 0; g < plan.groups; ++g) {
    double m1 = 0, m2 = 0;
    for (int64_t i = g * d; i < (g + 1) * d; ++i) {
      const double w = weight_of(f, n, c, i) * static_cast<double>(f.gamma[i]);
      m1 += w * static_cast<double>(m.s1[i]);
      m2 += w * static_cast<double>(m.s2[i]);
    }
    m1 /= count;
    m2 /= count;
    const double mean = f.mean[n * plan.groups + g], rstd = f.rstd[n * plan.groups + g];
    for (int64_t i = g * d; i < (g + 1) * d; ++i) {
      // m.a is rstd w already.
      m.b[i] = static_cast<float>(-rstd * rstd * m2);
      m.d[i] = static_cast<float>(rstd * (rstd * mean * m2 - m1));
    }
  }
}

void parameter_gradients(const GroupNormBackwardArgs& args, const GroupNormPlan& plan,
                         float* memory) {
  const GroupNormArgs& f = args.forward;
  const int64_t c = plan.c, stride = SampleMemory::size(plan);
  parallel_ranges(c, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double dgamma = 0, dbeta = 0;
      for (int64_t n = 0; n < f.n; ++n) {
        const SampleMemory m(memory + n * stride, c);
        const double scale = weight_of(f, n, c, i);
        dgamma += scale * static_cast<double>(m.s2[i]);
        dbeta += scale * static_cast<double>(m.s1[i]);
      }
      if (args.dgamma) args.dgamma[i] = static_cast<float>(dgamma);
      if (args.dbeta) args.dbeta[i] = static_cast<float>(dbeta);
    }
  });
}

}  // namespace

void group_norm_backward(const GroupNormBackwardArgs& args, Stream) {
  const GroupNormArgs& f = args.forward;
  const GroupNormPlan plan(f);
  const int64_t c = plan.c, stride = SampleMemory::size(plan);
  const int halves = plan.c1 > 0 ? 2 : 1;
  const Dropout dropout = resolved(f.dropout);
  const bool drops = dropout.rate > 0;
  const DropoutScale drop = dropout_scale(dropout);
  thread_local Scratch<float> scratch;
  float* memory = scratch.get(std::max<int64_t>(1, f.n) * stride);
  const auto at = [&](int which, int64_t n, int64_t chunk) {
    return (n * plan.hw + plan.first_row(chunk)) * half_of(plan, which).channels;
  };

  const auto first = [&](int64_t n, int64_t chunk) {
    thread_local Scratch<uint32_t> words;
    const SampleMemory m(memory + n * stride, c);
    const int64_t row = plan.first_row(chunk), rows = plan.rows(chunk);
    const uint16_t* draws = drops ? dropout_draws(dropout, n, row * c, rows * c, words) : nullptr;
    float* s1 = m.partial + 2 * chunk * c;
    for (int which = 0; which < halves; ++which) {
      const Half half = half_of(plan, which);
      const int64_t o = half.offset;
      float* dx = which == 0 ? args.dx0 : args.dx1;
      accumulate(rows, half, c, f.silu, (which == 0 ? f.x0 : f.x1) + at(which, n, chunk),
                 args.dy + (n * plan.hw + row) * c + o, {m.a + o, m.b + o, m.rstd + o, m.shift + o},
                 drops ? draws + o : nullptr, drop, dx ? dx + at(which, n, chunk) : nullptr, s1 + o,
                 s1 + c + o);
    }
  };
  const auto middle = [&](int64_t n) {
    finish_sample(args, plan, n, SampleMemory(memory + n * stride, c));
  };
  const auto last = [&](int64_t n, int64_t chunk) {
    const SampleMemory m(memory + n * stride, c);
    for (int which = 0; which < halves; ++which) {
      const Half half = half_of(plan, which);
      const int64_t o = half.offset;
      float* dx = which == 0 ? args.dx0 : args.dx1;
      if (!dx) continue;
      const int64_t begin = at(which, n, chunk), rows = plan.rows(chunk);
      const float* x = (which == 0 ? f.x0 : f.x1) + begin;
      if (const float* add = which == 0 ? args.add0 : args.add1)
        finish_rows_adding(rows, half.channels, x, m.a + o, m.b + o, m.d + o, add + begin,
                           dx + begin);
      else
        finish_rows(rows, half.channels, x, m.a + o, m.b + o, m.d + o, dx + begin);
    }
  };
  for (int64_t n = 0; n < f.n; ++n)
    prepare_sample(f, plan, n, SampleMemory(memory + n * stride, c));
  run_two_passes(plan, f.n, threads(), first, middle, last);
  if (args.dgamma || args.dbeta) parameter_gradients(args, plan, memory);
}

}  // namespace diffscm::kernels::cpu
