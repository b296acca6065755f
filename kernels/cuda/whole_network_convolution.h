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

// What a warp does in a layer, and what a lane knows of its rows.
struct WholeRows {
  int plane;              // of the output
  int first, apart;       // tiles
  int tiles;              // of the warp
  int pixel[kMostTiles];  // where the first tap reads
  int has[kMostTiles];    // a bit per tap: it is in the image

  __device__ explicit WholeRows(const WholeNetworkLayer& layer) {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    apart = kWholeWarps / layer.out_planes;
    plane = warp / apart;
    first = plane == 0 ? warp : kWholeWarps - 1 - warp;
    const int rows = layer.out_height * layer.out_width;
    const int all = static_cast<int>(ceil_div(rows, 16));
    tiles = first < all ? (all - first - 1) / apart + 1 : 0;
#pragma unroll
    for (int i = 0; i < kMostTiles; ++i) {
      const int row = (first + i * apart) * 16 + lane % 16;
      const int y = row / layer.out_width * layer.stride + layer.tap_y;
      const int x = row % layer.out_width * layer.stride + layer.tap_x;
      pixel[i] = y * layer.width + x;
      has[i] = 0;
      for (int tap = 0; tap < layer.side * layer.side; ++tap) {
        const int at_y = y + tap / layer.side, at_x = x + tap % layer.side;
        const bool in =
            row < rows && at_y >= 0 && at_y < layer.height && at_x >= 0 && at_x < layer.width;
        has[i] |= in ? 1 << tap : 0;
      }
    }
  }
};

// sums += taps [tap, tap + taps) of one plane, `plane` and `zeros` in bytes from `memory`.
template <int tiles>
__device__ inline void multiply_taps(WholeSums& sums, const WholeRows& rows,
                                     const WholeNetworkLayer& layer, const unsigned char* memory,
                                     int plane, int zeros, const unsigned char* weights, int tap,
                                     int taps) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int side = layer.side, width = layer.width, out_planes = layer.out_planes;
  int column = tap % side, delta = tap / side * width + column;
  const unsigned char* from = weights + rows.plane * 2048 + lane * 16;
  for (int i = 0; i < taps; ++i) {
    uint4 b[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) b[j] = *reinterpret_cast<const uint4*>(from + j * 512);
#pragma unroll
    for (int t = 0; t < tiles; ++t) {
      const int inside = plane + chunk_at(rows.pixel[t] + delta, lane / 16);
      const int at = (rows.has[t] >> (tap + i) & 1) != 0 ? inside : zeros;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t a[4];
        ldmatrix_x4(a, memory + (at ^ half * 32));
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const uint4& two = b[half * 2 + j];
          mma_m16n8k16(sums[t][2 * j], a, {two.x, two.y});
          mma_m16n8k16(sums[t][2 * j + 1], a, {two.z, two.w});
        }
      }
    }
    from += out_planes * 2048;
    ++delta;
    if (++column == side) {
      column = 0;
      delta += width - side;
    }
  }
}

// The layer's output: sums and all that is added to them.
__device__ inline void write_planes(const WholeSums& sums, const WholeRows& rows,
                                    const WholeNetworkLayer& layer, unsigned char* arena,
                                    const float (&bias)[4][2]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  unsigned char* const to = arena + layer.out[rows.plane];
  const int added = layer.added[rows.plane];
#pragma unroll
  for (int i = 0; i < kMostTiles; ++i) {
    if (i >= rows.tiles) break;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = (rows.first + i * rows.apart) * 16 + g + 8 * half;
      if (row >= layer.out_height * layer.out_width) continue;
      const int y = row / layer.out_width * layer.out_step + layer.out_y;
      const int x = row % layer.out_width * layer.out_step + layer.out_x;
      const int pixel = y * layer.out_row + x;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int at = chunk_at(pixel, j) + 4 * t;
        float low = sums[i][j][2 * half] + bias[j][0];
        float high = sums[i][j][2 * half + 1] + bias[j][1];
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
__device__ inline void convolve(WholeShared& shared, WeightStream& weights, const float* told) {
  const WholeNetworkLayer& layer = shared.layer;
  const auto* memory = reinterpret_cast<const unsigned char*>(&shared);
  const int zeros = static_cast<int>(shared.zeros - memory);
  const int arena = static_cast<int>(sizeof(WholeShared));
  const WholeRows rows(layer);

  float bias[4][2];
  {
    const int column = rows.plane * 32 + static_cast<int>(threadIdx.x) % 4 * 2;
    const float* const terms[] = {layer.bias, layer.shortcut_bias,
                                  layer.told_bias >= 0 ? told + layer.told_bias : nullptr};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        bias[j][k] = 0;
#pragma unroll
        for (const float* term : terms)
          if (term != nullptr) bias[j][k] += term[column + 8 * j + k];
      }
    }
  }

  WholeSums sums = {};
  const auto add = [&](int plane, const unsigned char* stage, int tap, int taps) {
    const auto run = [&]<int tiles>() {
      multiply_taps<tiles>(sums, rows, layer, memory, arena + plane, zeros, stage, tap, taps);
    };
    static_assert(kMostTiles == 4);
    switch (rows.tiles) {
      case 1:
        return run.template operator()<1>();
      case 2:
        return run.template operator()<2>();
      case 3:
        return run.template operator()<3>();
      case 4:
        return run.template operator()<4>();
      default:
        return;
    }
  };

  const bool normed = layer.groups > 0;
  if (normed) prepare_norm(shared, told);
  const int taps = layer.side * layer.side, at_once = 4 / layer.out_planes;
  for (int plane = 0; plane < layer.planes; ++plane) {
    if (normed && plane % layer.at_once == 0) {
      if (plane > 0) __syncthreads();  // the planes before are still read
      normalise(shared, plane, min(layer.at_once, layer.planes - plane));
    }
    for (int tap = 0; tap < taps; tap += at_once) {
      const unsigned char* const stage = weights.take(shared);
      add(normed ? layer.normalised[plane] : layer.in[plane], stage, tap, min(at_once, taps - tap));
    }
  }
  for (int plane = 0; plane < layer.shortcuts; ++plane)  // the middle tap
    add(layer.shortcut[plane], weights.take(shared), taps / 2, 1);
  __syncthreads();  // nobody reads what is now written over
  write_planes(sums, rows, layer, shared.arena(), bias);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
