// What the attention kernels share: where a head lies, and tiles of it in shared memory.
//
// A block works on one head of one sample, for a tile of 32 rows ("own" rows: queries in the
// forward; queries, then keys in the backward), and walks over the other side ("other" rows: keys,
// or queries) 32 at a time. A warp owns eight of the own rows and its 32 lanes stand for the 32
// other rows, so that a score is one lane's dot product and nothing larger than 32 x 32 scores
// exists at any time:
//
//                      other rows (lane)
//                      0  1  2  ...  31
//     own row 0     |  s  s  s  ...  s  |   warp 0: own rows 0..7
//     own row 1     |  s                |
//       ...                                 warp 3: own rows 24..31
//
// Products with the scores, such as the output, then turn the picture round: the scores pass
// through shared memory, lanes stand for channels, and each lane adds up over the 32 other rows.
#pragma once

#include <algorithm>

#include "kernels/cuda/device/cuda.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

inline constexpr int kAttentionWarps = 4;
inline constexpr int kAttentionThreads = kAttentionWarps * kWarp;
inline constexpr int kRows = 8;                       // own rows of a warp
inline constexpr int kOwn = kAttentionWarps * kRows;  // own rows of a block
inline constexpr int kOther = kWarp;                  // other rows at a time
inline constexpr int kDots = 32;                      // channels of the dot products at a time
inline constexpr int kPad = 4;  // rows 16 bytes apart modulo 128: vector reads by row do not clash

// One head of one sample. Rows of q, k, v are `stride` apart, rows of out and dout `out_stride`.
template <class T>
struct Head {
  int width;
  int64_t stride, out_stride;
  int64_t at, step;  // of q in the sample's qkv; from q to k to v
  int64_t out_at;    // in out and dout
  int64_t lse_at;    // in lse

  __device__ Head(const BasicAttentionArgs<T>& a, int64_t task)
      : width(static_cast<int>(a.channels / a.heads)),
        stride(3 * a.channels),
        out_stride(a.channels) {
    const int64_t n = task / a.heads, h = task % a.heads;
    const bool per_head = a.layout == QkvLayout::per_head;
    at = n * a.tokens * stride + (per_head ? 3 * h * width : h * width);
    step = per_head ? width : a.channels;
    out_at = n * a.queries * a.channels + h * width;
    lse_at = task * a.queries;
  }
};

// Rows of f32 in shared memory, `padding` floats longer than they are wide.
template <int rows, int columns, int padding>
struct alignas(16) SharedTile {
  float data[rows][columns + padding];
  static constexpr int kHeight = rows, kWidth = columns;
};

// tile = the `rows` x `columns` numbers at `from`, zero elsewhere. All threads of the block take
// part; a barrier must follow. kVectors: four channels at a time, for which width % 4 == 0.
template <bool kVectors, class Tile, class T>
__device__ inline void load_tile(Tile& tile, const T* from, int64_t stride, int64_t rows,
                                 int columns) {
  constexpr int V = kVectors ? 4 : 1, kPerRow = Tile::kWidth / V;
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kHeight * kPerRow; i += kAttentionThreads) {
    const int r = i / kPerRow, c = i % kPerRow * V;
    Vector<float, V> value{};
    if (r < rows && c < columns) {
      const Vector<T, V> x = load<V>(from + r * stride + c);
#pragma unroll
      for (int j = 0; j < V; ++j) value[j] = to_float(x[j]);
    }
    store_shared<V>(&tile.data[r][c], value);
  }
}

using DotTile = SharedTile<kOwn, kDots, kPad>;
static_assert(kOwn == kOther);

// s[r] += <own[warp's row r], other[lane]> over the tiles' kDots channels.
__device__ inline void add_dots(const DotTile& own, const DotTile& other, int warp, int lane,
                                float (&s)[kRows]) {
#pragma unroll 2
  for (int d = 0; d < kDots; d += 4) {
    const Vector<float, 4> b = load<4>(&other.data[lane][d]);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const Vector<float, 4> a = load<4>(&own.data[warp * kRows + r][d]);
      s[r] += a[0] * b[0] + a[1] * b[1] + (a[2] * b[2] + a[3] * b[3]);
    }
  }
}

// A warp's 8 x 32 scores on their way from "lanes are other rows" to "lanes are channels".
struct alignas(16) Scores {
  float data[kRows][kOther];
};

// sum[r][i] += sum_u scores[r][u] values[u][lane + 32 i].
template <int kSlice>
__device__ inline void add_product(const Scores& scores,
                                   const SharedTile<kOther, kSlice, 0>& values, int lane,
                                   float (&sum)[kRows][kSlice / kWarp]) {
#pragma unroll 2
  for (int u = 0; u < kOther; u += 4) {
    float v[4][kSlice / kWarp];
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
      for (int i = 0; i < kSlice / kWarp; ++i) v[j][i] = values.data[u + j][lane + kWarp * i];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const Vector<float, 4> p = load<4>(&scores.data[r][u]);
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int i = 0; i < kSlice / kWarp; ++i) sum[r][i] += p[j] * v[j][i];
    }
  }
}

// The same on tensor cores; false (and nothing done) where the head's width or an array's alignment
// does not allow it.
bool attention_mma(const BasicAttentionArgs<bf16>& args, float scale, Stream stream);
bool attention_backward_mma(const BasicAttentionBackwardArgs<bf16>& args, float scale,
                            const float* delta, Stream stream);

// One block per head, tile of `tile` rows (x) and slice of `slice` channels of the result (y).
inline dim3 attention_grid(const char* name, int64_t heads, int64_t rows, int64_t tile,
                           int64_t width, int64_t slice) {
  const int64_t blocks = heads * ceil_div(rows, tile), slices = ceil_div(width, slice);
  require(blocks < int64_t{1} << 31 && slices < 65536,
          "{}: {} x {} blocks are more than a launch can have; use a smaller batch", name, blocks,
          slices);
  return dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(slices));
}

// Calls run.template operator()<kSlice, kVectors>() with the narrowest slice that holds a head:
// a head wider than the widest is computed slice by slice, its scores again for each.
template <class Run>
void with_slice(int64_t width, bool vectors, Run&& run) {
  if (vectors) {
    if (width <= 32) return run.template operator()<32, true>();
    if (width <= 64) return run.template operator()<64, true>();
    return run.template operator()<128, true>();
  }
  if (width <= 32) return run.template operator()<32, false>();
  run.template operator()<128, false>();
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
