// Which filter each output parity sees, and the packing of those filters for the direct rung.
#include <algorithm>

#include "kernels/cpu/conv2d_direct.h"
#include "kernels/cpu/parallel.h"

namespace diffscm::kernels::cpu::direct {

int Axis::first() const {
  int first = 1 << 20;
  for (int f = 0; f < phase_count; ++f)
    if (phases[f].taps > 0) first = std::min(first, phases[f].first);
  return first;
}

int Axis::last() const {
  int last = -(1 << 20);
  for (int f = 0; f < phase_count; ++f)
    if (phases[f].taps > 0) last = std::max(last, phases[f].first + phases[f].taps - 1);
  return last;
}

Axis axis_of(const ConvShape& shape, bool backward) {
  constexpr uint8_t k0 = 1, k1 = 2, k2 = 4;  // masks of the weights 0, 1, 2
  const Phase same_pixel{0, 1, {k0}}, nothing{0, 0, {}};
  if (shape.r == 1) {
    if (backward && shape.stride == 2) return {1, 2, {same_pixel, nothing}};
    return {shape.stride, 1, {same_pixel}};
  }
  if (!backward) {
    if (shape.upsample) return {1, 2, {Phase{-1, 2, {k0, k1 | k2}}, Phase{0, 2, {k0 | k1, k2}}}};
    return {shape.stride, 1, {Phase{-1, 3, {k0, k1, k2}}}};
  }
  // x[h] fed y[p] through weight r where p * stride + r - 1 = h.
  if (shape.upsample) return {2, 1, {Phase{-1, 4, {k2, k1 | k2, k0 | k1, k0}}}};
  if (shape.stride == 2) return {1, 2, {Phase{0, 1, {k1}}, Phase{0, 2, {k2, k0}}}};
  return {1, 1, {Phase{-1, 3, {k2, k1, k0}}}};
}

int64_t packed_offset(const Axis& axis, int64_t in_channels, int64_t out_channels, int f, int g) {
  const int64_t columns = uses_dots(out_channels) ? out_channels : padded(out_channels);
  int64_t offset = 0;
  for (int i = 0; i < axis.phase_count; ++i)
    for (int j = 0; j < axis.phase_count; ++j) {
      if (i > f || (i == f && j >= g)) continue;
      offset += axis.phases[i].taps * axis.phases[j].taps * in_channels * columns;
    }
  return offset;
}

int64_t packed_floats(const ConvShape& s, bool backward) {
  const int64_t in = backward ? s.k : s.c(), out = backward ? s.c() : s.k;
  const Axis axis = axis_of(s, backward);
  return packed_offset(axis, in, out, axis.phase_count, 0) + kLanesMax;
}

namespace {

// Weight of output channel `out` and input channel `in` is w[out * out_step + in * in_step].
struct Strides {
  int64_t out, in;
};

enum class Packing {
  kRows,  // [tap][in][padded(out)]
  kDots,  // [out][tap][in]
};

// One tap: sums of the weights at the given places. Blocks of 16x16 keep both sides in cache.
void pack_tap(const float* const* places, int count, Strides step, int64_t in_channels,
              int64_t out_channels, float* packed) {
  const int64_t columns = padded(out_channels);
  constexpr int64_t kBlock = kLanesMax;
  for (int64_t in0 = 0; in0 < in_channels; in0 += kBlock)
    for (int64_t out0 = 0; out0 < columns; out0 += kBlock) {
      const int64_t in1 = std::min(in_channels, in0 + kBlock);
      const int64_t outs = std::clamp<int64_t>(out_channels - out0, 0, kBlock);
      for (int64_t in = in0; in < in1; ++in) {
        float* row = packed + in * columns + out0;
        for (int64_t o = 0; o < kBlock; ++o) row[o] = 0.0f;
        for (int i = 0; i < count; ++i) {
          const float* w = places[i] + out0 * step.out + in * step.in;
          for (int64_t o = 0; o < outs; ++o) row[o] += w[o * step.out];
        }
      }
    }
}

void pack_as(const Conv2dPackArgs& a, Packing packing) {
  const ConvShape& s = a.shape;
  const Axis axis = axis_of(s, a.backward);
  const int64_t c = s.c(), in_channels = a.backward ? s.k : c, out_channels = a.backward ? c : s.k;
  const int64_t weight_k = s.r * s.s * c;
  const Strides step = a.backward ? Strides{1, weight_k} : Strides{weight_k, 1};
  for (int f = 0; f < axis.phase_count; ++f)
    for (int g = 0; g < axis.phase_count; ++g) {
      const Phase &down = axis.phases[f], &across = axis.phases[g];
      const int taps = down.taps * across.taps;
      float* packed = a.packed + packed_offset(axis, in_channels, out_channels, f, g);
      parallel_tasks(taps, 2 * taps * in_channels * out_channels, [&](int64_t tap) {
        const float* places[9];
        int count = 0;
        for (int r = 0; r < s.r; ++r)
          for (int t = 0; t < s.s; ++t)
            if ((down.mask[tap / across.taps] >> r & 1) &&
                (across.mask[tap % across.taps] >> t & 1))
              places[count++] = a.weight + (r * s.s + t) * c;
        if (packing != Packing::kDots) {
          pack_tap(places, count, step, in_channels, out_channels,
                   packed + tap * in_channels * padded(out_channels));
          return;
        }
        for (int64_t out = 0; out < out_channels; ++out)
          for (int64_t in = 0; in < in_channels; ++in) {
            float sum = 0.0f;
            for (int i = 0; i < count; ++i) sum += places[i][out * step.out + in * step.in];
            packed[(out * taps + tap) * in_channels + in] = sum;
          }
      });
    }
}

}  // namespace

void pack(const Conv2dPackArgs& a) {
  std::fill_n(a.packed + packed_floats(a.shape, a.backward) - kLanesMax, kLanesMax, 0.0f);
  pack_as(a, uses_dots(a.backward ? a.shape.c() : a.shape.k) ? Packing::kDots : Packing::kRows);
}

}  // namespace diffscm::kernels::cpu::direct
