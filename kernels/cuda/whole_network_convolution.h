// Convolution in the whole-network kernel: sums[place, k] over taps and channels on tensor cores,
// places in tiles of 16. A warp holds all sums of its tiles in registers until the end, so that the
// output may be written over what was read.
//
// A tap only changes where ldmatrix reads: a lane's row of a tile is a pixel, the tap moves it, and
// where it then lies outside the image the lane reads zeros (conv2d_mma_strip.cu has the picture).
// The weights lie in shared memory in the order of the fragments: a lane's share of 16 channels by
// 16 outputs is one load of 16 bytes.
//
// With two planes of output, half of the warps make each. Warps that have a tile more than the
// others are spread over the four schedulers.
#pragma once

#include "kernels/cuda/device/mma.h"
#include "kernels/cuda/whole_network_norm.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

using WholeSums = float[kMostTiles][4][4];  // [tile][n8][fragment D]

// The tiles of a warp: `first`, and then every apart-th, of one plane of the output.
struct WarpTiles {
  int plane, first, apart, count;

  static __device__ int apart_of(const WholeNetworkLayer& layer) {
    return layer.out_planes == 1 ? kWholeWarps : kWholeWarps / 2;
  }
  __device__ explicit WarpTiles(const WholeNetworkLayer& layer) {
    const int warp = this_warp();
    const int shift = layer.out_planes == 1 ? kLog2Warps : kLog2Warps - 1;
    apart = apart_of(layer);
    plane = warp >> shift;
    first = plane == 0 ? warp : kWholeWarps - 1 - warp;
    const int all = (layer.out_height * layer.out_width + 15) >> 4;
    count = first < all ? ((all - first - 1) >> shift) + 1 : 0;
  }
};

// Rows of the output in y and x, by a multiplication: exact for up to kMostRows rows.
struct Places {
  int width, inverse;
  __device__ explicit Places(int width_)
      : width(width_), inverse(((1 << 20) - 1 + width_) / width_) {}
  __device__ int y(int row) const { return row * inverse >> 20; }
  __device__ int x(int row, int y) const { return row - y * width; }
};

// What a lane knows of its rows of the warp's tiles, a register each: the pixel where the first tap
// reads, in the upper half, and below it a bit for each tap that is in the image.
struct LaneRows {
  int row_[kMostTiles] = {};

  __device__ LaneRows(const WholeNetworkLayer& layer, const WarpTiles& tiles) {
    const int rows = layer.out_height * layer.out_width, side = layer.side;
    const int height = layer.height, width = layer.width;
    const Places places(layer.out_width);
#pragma unroll
    for (int i = 0; i < kMostTiles; ++i) {
      if (i >= tiles.count) break;
      const int row = (tiles.first + i * tiles.apart) * 16 + (this_lane() & 15);
      const int out_y = places.y(row);
      const int y = out_y * layer.stride + layer.tap_y;
      const int x = places.x(row, out_y) * layer.stride + layer.tap_x;
      int columns = 0, has = 0;
#pragma unroll
      for (int tap = 0; tap < 3; ++tap)
        if (tap < side && x + tap >= 0 && x + tap < width) columns |= 1 << tap;
#pragma unroll
      for (int tap = 0; tap < 3; ++tap)
        if (tap < side && y + tap >= 0 && y + tap < height) has |= columns << tap * side;
      row_[i] = (y * width + x) * 65536 + (row < rows ? has : 0);
    }
  }
  __device__ bool has(int i, int tap) const {
    return (row_[i] >> tap & 1) != 0;
  }
  __device__ int pixel(int i) const {
    int row = row_[i];
    forget_origin(row);  // rather than keep its half
    return row >> 16;
  }
};

// sums += taps [tap, last) of one plane, for `tiles` tiles from the first-th on. plane: in bytes
// from `shared`; weights: of the warp's plane of output. Tiles are `apart` bytes apart in the
// plane, a multiple of eight pixels, so that the permutation of the chunks is the same for all.
template <int first, int tiles>
__device__ inline void multiply_taps(WholeSums& sums, const LaneRows& rows,
                                     const WholeShared& shared, int plane,
                                     const unsigned char* weights, int tap, int last) {
  const auto* const memory = reinterpret_cast<const unsigned char*>(&shared);
  constexpr int kZeros = offsetof(WholeShared, zeros);
  const int lane = this_lane();
  weights += lane * 16;
  for (; tap < last; ++tap) {
    const int place = plane + chunk_at(rows.pixel(first) + shared.moved[tap], lane / 16);
    const int apart = WarpTiles::apart_of(shared.layer) * 16 * kPixelBytes;
    int at[tiles];
#pragma unroll
    for (int t = 0; t < tiles; ++t) at[t] = rows.has(first + t, tap) ? place + t * apart : kZeros;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint4 b[2];
#pragma unroll
      for (int j = 0; j < 2; ++j)
        b[j] = *reinterpret_cast<const uint4*>(weights + (half * 2 + j) * 512);
#pragma unroll
      for (int t = 0; t < tiles; ++t) {
        uint32_t a[4];
        ldmatrix_x4(a, memory + (at[t] ^ half * 32));
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          mma_m16n8k16(sums[first + t][2 * j], a, {b[j].x, b[j].y});
          mma_m16n8k16(sums[first + t][2 * j + 1], a, {b[j].z, b[j].w});
        }
      }
    }
    weights += shared.layer.out_planes * 2048;
  }
}

// The layer's output.
__device__ inline void write_planes(const WholeSums& sums, const WholeNetworkLayer& layer,
                                    unsigned char* arena) {
  const WarpTiles tiles(layer);
  const Places places(layer.out_width);
  const int rows = layer.out_height * layer.out_width;
  const int lane = this_lane(), g = lane / 4, t = lane % 4;
  unsigned char* const to = arena + layer.out[tiles.plane];
  const int added = layer.added[tiles.plane];
#pragma unroll
  for (int i = 0; i < kMostTiles; ++i) {
    if (i >= tiles.count) break;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = (tiles.first + i * tiles.apart) * 16 + g + 8 * half;
      if (row >= rows) continue;
      const int y = places.y(row), x = places.x(row, y);
      const int pixel =
          (y * layer.out_step + layer.out_y) * layer.out_row + x * layer.out_step + layer.out_x;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int at = chunk_at(pixel, j) + 4 * t;
        float low = sums[i][j][2 * half];
        float high = sums[i][j][2 * half + 1];
        if (added >= 0) {
          const auto x2 = load<2>(reinterpret_cast<const bf16*>(arena + added + at));
          low += to_float(x2[0]);
          high += to_float(x2[1]);
        }
        store_shared(reinterpret_cast<bf16*>(to + at), from_floats<bf16>({low, high}));
      }
    }
  }
}

// One layer. All threads; the output may be read after a barrier.
__device__ inline void convolve(WholeShared& shared, WeightStream& weights,
                                const WholeNetworkArgs& args, const float* told) {
  const WholeNetworkLayer& layer = shared.layer;
  if (const int tap = this_thread(); tap < layer.side * layer.side)
    shared.moved[tap] = tap / layer.side * layer.width + tap % layer.side;
  const WarpTiles tiles(layer);
  const LaneRows rows(layer, tiles);
  const int count = tiles.count, share = tiles.plane * 2048;

  float bias[4][2] = {};
  if (count > 0) {
    const int column = tiles.plane * 32 + this_lane() % 4 * 2;
    const float* const terms[] = {layer.bias, layer.shortcut_bias,
                                  layer.told_bias >= 0 ? told + layer.told_bias : nullptr};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int k = 0; k < 2; ++k) {
#pragma unroll
        for (const float* term : terms)
          if (term != nullptr) bias[j][k] += term[column + 8 * j + k];
      }
    }
  }

  WholeSums sums;
  const auto add = [&](int plane, const unsigned char* stage, int tap, int last) {
    plane += static_cast<int>(sizeof(WholeShared));
    stage += share;
    const auto run = [&]<int first, int count_>() {
      multiply_taps<first, count_>(sums, rows, shared, plane, stage, tap, last);
    };
    static_assert(kMostTiles == 4);
    if (layer.stride == 1) {
      if (count == 1) run.template operator()<0, 1>();
      if (count == 2) run.template operator()<0, 2>();
      if (count == 3) run.template operator()<0, 3>();
      if (count == 4) run.template operator()<0, 4>();
    } else {  // the pixels of the tiles are not evenly apart
      if (count > 0) run.template operator()<0, 1>();
      if (count > 1) run.template operator()<1, 1>();
      if (count > 2) run.template operator()<2, 1>();
      if (count > 3) run.template operator()<3, 1>();
    }
  };

  const bool normed = layer.groups > 0;
  if (normed) prepare_norm(shared, told);
#pragma unroll
  for (auto& tile : sums) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int k = 0; k < 4; ++k) tile[j][k] = bias[j][k % 2];
    }
  }
  const int taps = layer.side * layer.side,
            at_once = WholeNetworkStage::taps_of(1) >> (layer.out_planes - 1);
  int ready = normed ? 0 : layer.planes;
  for (int plane = 0; plane < layer.planes; ++plane) {
    if (plane == ready) {
      if (plane > 0) __syncthreads();  // the planes before are still read
      ready = min(plane + layer.at_once, layer.planes);
      normalise(shared, plane, ready);
    }
    for (int tap = 0; tap < taps; tap += at_once) {
      const unsigned char* const stage = weights.take(shared, args);
      add(normed ? layer.normalised[plane] : layer.in[plane], stage, tap, min(taps, tap + at_once));
    }
  }
  for (int plane = 0; plane < layer.shortcuts; ++plane)  // the middle tap
    add(layer.shortcut[plane], weights.take(shared, args), taps / 2, taps / 2 + 1);
  __syncthreads();  // nobody reads what is now written over
  write_planes(sums, layer, shared.arena());
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
