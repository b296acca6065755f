// The Winograd rung, backward to weight and bias: dW summed in the transformed domain.
//
// Forward is y = A^T [ (G w G^T) (.) (B^T d B) ] A per tile, so its transpose with respect to w is
//   dw = G^T [ sum over tiles of (B^T d B) (.) (A dy A^T) ] G
// The bracket is 36 products [C, tiles] x [tiles, K], one per component, accumulated over all
// tiles; the outer transform runs once per slice. 36 multiplications per 4x4 outputs instead of
// 144. Component (1, 1) of A dy A^T is the sum of the tile's dy, hence its column sums are dbias.
//
// The tiles are cut into slices by the shape alone, each sums its own partial gradient [9][C][K]
// and the partials are added in order, so that threads cannot change a result. If there are fewer
// slices than threads, parts of the output channels go to different threads.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv2d_partials.h"
#include "kernels/cpu/conv2d_winograd.h"
#include "kernels/cpu/conv2d_workspace.h"
#include "kernels/cpu/parallel.h"

namespace diffscm::kernels::cpu::winograd {
namespace {

constexpr int64_t kSlicesMax = 16, kSliceTilesMin = 96, kBlockTiles = 48;
constexpr int64_t kSumFloats = 36 * 128 * 64;  // of a part: 1.2 MB, to stay in an L2 cache
constexpr int64_t kPartialFloats = 1 << 23;    // of all slices together: 32 MiB

struct Channels {
  int64_t begin, end;
};

// Partial gradient of a slice: [9][C][pitch], then [pitch] for the bias.
void sum_slice(const Conv2dBackwardWeightArgs& a, TileRun slice, Channels part, float* partial,
               Isa isa) {
  const ConvShape& s = a.shape;
  const Leaves& leaf = leaves(isa);
  const int64_t c = s.c(), columns = part.end - part.begin, pitch = padded(s.k);
  const int64_t v_xi = xi_pitch(kBlockTiles, c), z_xi = xi_pitch(kBlockTiles, columns);
  float* v = workspace(Workspace::kInput, kXi * v_xi);
  float* z = workspace(Workspace::kOutput, kXi * z_xi);
  float* u = workspace(Workspace::kSum, kXi * u_pitch(c * columns));  // [xi][c][columns]
  float* bias = partial + 9 * c * pitch + part.begin;
  std::fill_n(bias, columns, 0.0f);

  const int64_t end = slice.first + slice.count;
  const float* outside = zeros(std::max(c, s.k));
  for (int64_t first = slice.first; first < end; first += kBlockTiles) {
    const TileRun tiles{slice.down, slice.across, first, std::min(kBlockTiles, end - first)};
    leaf.input_transform({.image = {a.x0, a.x1, s.h, s.w, s.c0, s.c1, s.upsample},
                          .tiles = tiles,
                          .zeros = outside,
                          .v = v,
                          .v_xi = v_xi,
                          .v_tile = padded(c)});
    leaf.gradient_transform({.dy = a.dy + part.begin,
                             .tiles = tiles,
                             .h = s.p(),
                             .w = s.q(),
                             .dy_pixel = s.k,
                             .channels = std::min(part.end, s.k) - part.begin,
                             .zeros = outside,
                             .z = z,
                             .z_xi = z_xi,
                             .z_tile = columns});
    for (int xi = 0; xi < kXi; ++xi) {
      if (s.upsample && vanishes_when_enlarged(xi)) continue;
      float* sum = u + xi * u_pitch(c * columns);
      leaf.product({.a = v + xi * v_xi,
                    .a_tap = 0,
                    .a_row = 1,
                    .a_step = padded(c),
                    .b = z + xi * z_xi,
                    .b_panel = kLanesMax,
                    .b_row = columns,
                    .taps = 1,
                    .length = tiles.count,
                    .rows = c,
                    .columns = columns,
                    .bias = nullptr,
                    .residual = first == slice.first ? nullptr : sum,
                    .out = sum,
                    .out_row = columns});
    }
    const float* tile_sums = z + (kPatch + 1) * z_xi;
    for (int64_t tile = 0; tile < tiles.count; ++tile)
      for (int64_t k = 0; k < columns; ++k) bias[k] += tile_sums[tile * columns + k];
  }
  for (int64_t i = 0; i < c; ++i)
    leaf.filter_gradient({.u = u + i * columns,
                          .u_xi = u_pitch(c * columns),
                          .w = partial + i * pitch + part.begin,
                          .w_tap = c * pitch,
                          .count = columns,
                          .enlarged = s.upsample});
}

}  // namespace

void conv2d_backward_weight(const Conv2dBackwardWeightArgs& a, Isa isa) {
  const ConvShape& s = a.shape;
  const int64_t c = s.c(), pitch = padded(s.k), slice_floats = (9 * c + 1) * pitch;
  const int64_t down = tiles_along(s.p()), across = tiles_along(s.q()), tiles = s.n * down * across;
  const int64_t slices = std::clamp<int64_t>(
      std::min(tiles / kSliceTilesMin, kPartialFloats / slice_floats), 1, kSlicesMax);
  const int64_t vectors = pitch / kLanesMax;
  const int64_t wanted = std::max((threads() + slices - 1) / slices, kXi * c * pitch / kSumFloats);
  const int64_t parts = std::clamp<int64_t>(wanted, 1, (vectors + 1) / 2);
  float* partials = workspace(Workspace::kPartials, slices * slice_floats);
  parallel_tasks_if(worth_threads(s), slices * parts, [&](int64_t item) {
    const int64_t slice = item / parts, part = item % parts;
    const int64_t first = tiles * slice / slices, last = tiles * (slice + 1) / slices;
    sum_slice(a, {down, across, first, last - first},
              {vectors * part / parts * kLanesMax, vectors * (part + 1) / parts * kLanesMax},
              partials + slice * slice_floats, isa);
  });

  add_slices(partials, slices, slice_floats);
  transpose(partials, 9 * c, s.k, pitch, a.dweight);
  if (a.dbias) std::copy_n(partials + 9 * c * pitch, s.k, a.dbias);
}

}  // namespace diffscm::kernels::cpu::winograd
