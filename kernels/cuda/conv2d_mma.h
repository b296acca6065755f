// What the two tensor-core kernels of the convolution share: the filter's way to shared memory, and
// the choice of a tile.
#pragma once

#include "kernels/cuda/conv2d_gather.h"
#include "kernels/cuda/mma_tile.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// Starts copying one tap's weights for MmaOperand `b`: columns (result channels) from column0 on,
// source channels from `channel` on, in chunks of eight; zeros past the last of either.
//
// Forward, the weight of a result channel is a row of source channels, and b lies along the summed
// index. Backward, the result channels are the contiguous ones: b lies along them, and ldmatrix
// transposes on the way to registers. The weight is never rearranged in memory.
template <int threads, class B>
__device__ inline void copy_weights(B& b, const ConvGather<bf16>& g, int row, int column,
                                    int column0, int channel, bool second) {
  const int channels = second ? g.c1 : g.c0, outs = g.k0 + g.k1;
  const bf16* tap = g.weight + (row * g.filter + column) * g.tap_stride +
                    (channel + (second ? g.c0 : 0)) * g.in_stride;
  b.template each_chunk<threads>([&](bf16* to, int r, int c) {
    const int out = column0 + (B::kAlongInner ? r : c), source = B::kAlongInner ? c : r;
    async_copy_16(to, tap + (out * g.out_stride + source * g.in_stride),
                  out < outs && channel + source < channels);
  });
}

// 3x3 filters that move over the source one pixel at a time, on images up to kStripWidth wide.
inline constexpr int kStripWidth = 32;
bool conv2d_strip_supports(const ConvGather<bf16>& g);
void conv2d_strip(const ConvGather<bf16>& g, bool backward, Stream stream);
// Forward, with coefficients and shortcut as in NormalisedConv2dArgs.
void conv2d_strip_normalised(const ConvGather<bf16>& g, const float* coefficients,
                             const ConvShortcut& shortcut, Stream stream);
// DIFFSCM_CONV=taps: never the strip, to compare.
bool conv2d_tap_by_tap();

// Tiles of m pixels by n channels; whether they give every multiprocessor one.
inline int64_t tiles_of(const ConvGather<bf16>& g, int m, int n) {
  return ceil_div(g.outputs(0), m) * ceil_div(g.outs(), n) * g.phases.count;
}
inline bool enough_tiles(const ConvGather<bf16>& g, int m, int n) {
  return tiles_of(g, m, n) >= multiprocessors();
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
