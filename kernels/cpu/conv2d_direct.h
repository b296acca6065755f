// What the direct rung is made of: every convolution as one or four plain small-filter
// correlations.
//
// Along one axis, outputs of equal parity are a correlation of the stored input with a short
// filter:
//   3x3 stride 1 or 2          one phase, inputs -1 0 +1
//   3x3 on an image enlarged x2, forward: two phases of two taps, because pixels 2i and 2i+1 of the
//     enlarged image are the same stored pixel, so that neighbouring weights add up;
//     backward: one phase of four taps and stride 2
//   stride 2 backward: two phases, of one and two taps (even and odd input rows)
// A Phase is such a filter; each tap is a sum of weights, given as a bit mask. In two dimensions
// take all pairs of phases. No pass over zeros, no scatter: outputs are written once, by whoever
// owns them.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/cpu/conv2d_leaves.h"
#include "kernels/cpu/conv2d_rungs.h"

namespace diffscm::kernels::cpu::direct {

struct Phase {
  int first;                    // input coordinate of the first tap, relative to stride * i
  int taps;                     // 0: these outputs are 0
  std::array<uint8_t, 4> mask;  // bit r of mask[t]: weight r is part of tap t
};

// Output i * phase_count + f of an axis is sum_t tap_t(phases[f]) * input[i*stride + first + t].
struct Axis {
  int stride;
  int phase_count;
  std::array<Phase, 2> phases;

  int first() const;  // smallest and
  int last() const;   // largest input coordinate, relative to stride * i, over all phases
};

Axis axis_of(const ConvShape& shape, bool backward);

// Offset in packed weights of the phase pair (f, g); (phase_count, 0) gives the total size.
int64_t packed_offset(const Axis& axis, int64_t in_channels, int64_t out_channels, int f, int g);

// Copies rows [row, row + rows) and columns [column, column + columns) of sample n, zeros outside,
// as [rows][columns][C].
void copy_window(const Image& image, int64_t n, int64_t row, int64_t rows, int64_t column,
                 int64_t columns, float* out);

// For so few output channels vectors run along the filter instead.
constexpr bool uses_dots(int64_t out_channels) {
  return out_channels <= 4;
}

}  // namespace diffscm::kernels::cpu::direct
