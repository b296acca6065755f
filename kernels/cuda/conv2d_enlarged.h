// A convolution of an enlarged image as four of the stored one.
//
// Nearest-x2 enlargement makes rows 2i and 2i + 1 of row i. So row 2y + odd of the result, of whose
// filter row r reads row 2y + odd + r - 1 of the large image, reads two stored rows:
//
//              y - 1 | y     | y + 1
//   even row    r0   | r1 r2 |            taps of filter rows that read the same stored row are
//   odd row          | r0 r1 | r2         added up
//
// Columns likewise: each of the four parities of a result's pixel is a phase of its own, a
// convolution of the stored image with 2x2 taps, whose weights are sums of 1, 2 or 4 of the nine.
//
// Backward, stored row y gathers from what it fed, the phases' other ends:
//
//              2y - 1 | 2y    | 2y + 1 | 2y + 2        row of the result
//              r2     | r1 r2 | r0 r1  | r0            taps
//              odd, 1 | even, 1 | odd, 0 | even, 0     phase, and which of its two
//
// That is 4/9 of the work, both ways. The mma rung does so; the others take nine taps.
#pragma once

#include "kernels/cuda/conv2d_gather.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// The weights of the phases, [K, odd y, odd x, 2, 2, C]: summed in f32, in the order of the filter,
// and rounded.
constexpr int64_t phase_weights(const ConvShape& s) {
  return 16 * s.k * s.c();
}
void sum_phase_weights(const ConvShape& shape, const bf16* weight, bf16* phases, Stream stream);

// One direction of a phase. With a filter of 2 rows and columns, the weight of tap (i, j) is at
// row 4 odd_y + i and column 4 odd_x + j.
inline Axis enlarged_axis(int64_t stored, int odd) {
  const auto size = static_cast<int>(stored);
  return {.outputs = size,
          .spread = 2,
          .start = odd,
          .taps = 2,
          .period = 2,
          .scale = 1,
          .direction = 1,
          .offset = odd - 1,
          .limit = size,
          .halvings = 0,
          .first = 4 * odd,
          .step = 1};
}

// One direction, backward: all of the stored image, with four taps.
inline Axis backward_enlarged_axis(int64_t stored) {
  const auto size = static_cast<int>(stored);
  return {.outputs = size,
          .spread = 1,
          .start = 0,
          .taps = 4,
          .period = 2,
          .scale = 2,
          .direction = 2,
          .offset = -1,
          .limit = 2 * size,
          .halvings = 0,
          .first = 4 + 1,
          .step = -1,
          .again = -4};
}

// The gather `g` of a convolution of this shape, but through the phases' weights; its phases are to
// be added.
inline ConvGather<bf16> with_phases(ConvGather<bf16> g, const ConvShape& s, const bf16* weights) {
  g.weight = weights;
  g.filter = 2;
  g.vectored_weight = s.c() % 4 == 0 && aligned16(weights);
  g.phases.count = 0;
  return g;
}
inline ConvGather<bf16> gather_phases(const BasicConv2dArgs<bf16>& a, const bf16* weights) {
  const ConvShape& s = a.shape;
  ConvGather<bf16> g = with_phases(gather(a), s, weights);
  g.out_stride = static_cast<int>(16 * s.c());
  for (int y = 0; y < 2; ++y)
    for (int x = 0; x < 2; ++x) g.phases.add(enlarged_axis(s.h, y), enlarged_axis(s.w, x));
  return g;
}
inline ConvGather<bf16> gather_phases(const BasicConv2dBackwardInputArgs<bf16>& a,
                                      const bf16* weights) {
  const ConvShape& s = a.shape;
  ConvGather<bf16> g = with_phases(gather(a), s, weights);
  g.in_stride = static_cast<int>(16 * s.c());
  g.phases.add(backward_enlarged_axis(s.h), backward_enlarged_axis(s.w));
  return g;
}
// Of the forward one.
inline bool in_phases(const ConvGather<bf16>& g) {
  return g.filter == 2 && g.phases.phase[0].y.spread == 2;
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
