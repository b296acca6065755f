// The shortcut of a residual block within conv2d_mma_strip.cu: a 1x1 convolution of another image,
// added to a tile's sums.
#pragma once

#include <algorithm>
#include <bit>

#include "kernels/cuda/conv2d_strip_tile.h"
#include "kernels/cuda/device/prefetch.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// What is added in the end is on its way meanwhile.
template <class S>
__device__ void prefetch_shortcut(const ConvGather<bf16>& g, const ConvShortcut& shortcut,
                                  const TileAt<S>& at) {
  using Tile = typename S::Tile;
  constexpr int kSector = kSectorBytes / sizeof(bf16);
  const int pixels = std::min(int{Tile::kRowsM}, outputs_of(g) - at.row);
#pragma unroll 1
  for (int second = 0; second < 2; ++second) {
    const auto channels = static_cast<int>(second ? shortcut.c1 : shortcut.c0);
    const bf16* from = (second ? shortcut.x1 : shortcut.x0) + int64_t{at.row} * channels;
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x) * kSector; i < pixels * channels;
         i += Tile::kThreads * kSector)
      prefetch_l2(from + i);
  }
}

// Adds the shortcut's products and bias. Each pixel is read once, so the fragments come straight
// from memory. In which order channels are summed is free if both operands have the same: of 32, a
// lane takes eight that lie beside each other, which are its part of two steps of 16.
template <class S>
__device__ void add_shortcut(typename S::Tile& tile, const ConvGather<bf16>& g,
                             const ConvShortcut& shortcut, const TileAt<S>& at) {
  using Tile = typename S::Tile;
  using Eight = Vector<uint32_t, 4>;
  const int group = Tile::lane() / 4, in_group = Tile::lane() % 4;
  // The lane's rows of A, and its columns of B, are eight apart.
  const int row = at.row + Tile::row() + group, column0 = at.column + Tile::column();
  const int rows = outputs_of(g) - row, columns = g.k0 - column0 - group;  // that exist
  const auto read = [](const bf16* from, bool exists) {
    return exists ? std::bit_cast<Eight>(load<kVector<bf16>>(from)) : Eight{};
  };
  const auto c0 = static_cast<int>(shortcut.c0), c1 = static_cast<int>(shortcut.c1);
  const int stride = c0 + c1;
#pragma unroll 1
  for (int second = 0; second < 2; ++second) {
    const int channels = second ? c1 : c0, mine = in_group * 8;
    const bf16* x = (second ? shortcut.x1 : shortcut.x0) + int64_t{row} * channels + mine;
    const bf16* weight = shortcut.weight + ((column0 + group) * stride + (second ? c0 : 0) + mine);
#pragma unroll 1
    for (int first = 0; first < channels; first += Tile::kStep) {
      const bool exists = first + mine < channels;
      Eight b[Tile::kTilesN];
#pragma unroll
      for (int j = 0; j < Tile::kTilesN; ++j)
        b[j] = read(weight + 8 * j * stride, exists && 8 * j < columns);
#pragma unroll
      for (int i = 0; i < Tile::kTilesM; ++i) {
        const Eight upper = read(x + 16 * i * channels, exists && 16 * i < rows);
        const Eight lower = read(x + (16 * i + 8) * channels, exists && 16 * i + 8 < rows);
#pragma unroll
        for (int part = 0; part < 4; part += 2)
#pragma unroll
          for (int j = 0; j < Tile::kTilesN; ++j)
            mma_m16n8k16(tile.sum[i][j],
                         {upper[part], lower[part], upper[part + 1], lower[part + 1]},
                         {b[j][part], b[j][part + 1]});
      }
      x += Tile::kStep;
      weight += Tile::kStep;
    }
  }
  if (shortcut.bias == nullptr) return;
#pragma unroll
  for (int j = 0; j < Tile::kTilesN; ++j) {
    const int column = column0 + 8 * j + 2 * in_group;
    if (column >= g.k0) break;
    const float bias[2] = {shortcut.bias[column], shortcut.bias[column + 1]};
#pragma unroll
    for (int i = 0; i < Tile::kTilesM; ++i)
#pragma unroll
      for (int k = 0; k < 4; ++k) tile.sum[i][j][k] += bias[k % 2];
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
