// What the tensor-core attention kernels share: tiles of 64 rows in shared memory and the two kinds
// of product, for bf16 heads whose width is a multiple of 16.
//
// A block owns 64 rows of one head (queries or keys), a warp 16 of them, and walks over the other
// side 64 rows at a time. Scores stay where mma leaves them (device/mma.h, fragment D): with
// g = lane / 4 and t = lane % 4 a lane holds, of every 8 other rows, 2t and 2t+1 for its own rows
// g and g + 8:
//
//        other rows    0 1   2 3   4 5   6 7 | 8 9 ...
//     own row 0      | t=0 | t=1 | t=2 | t=3 |  0  ...    lanes 0..3
//     own row 1      |  4  |  5  |  6  |  7  |  4  ...    lanes 4..7
//
// so a row's maximum and sum need two shuffles among four lanes. And the D fragments of two
// neighbouring 8-row tiles, rounded to bf16, are exactly the A fragment that the product with the
// values wants: the 16 x 64 scores never leave the registers. Rows in shared memory are 16 bytes
// longer than they need be, so that the eight rows of one ldmatrix fall into different banks.
#pragma once

#include "kernels/cuda/attention.h"
#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/mma.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

inline constexpr int kTile = 64;     // own rows of a block, other rows at a time
inline constexpr int kRowTile = 16;  // own rows of a warp
inline constexpr int kSkew = 8;      // elements: 16 bytes
static_assert(kTile == kAttentionWarps * kRowTile);

// Rows are taken by sixteens, and only as many as it takes: a head of ten tokens is one of four.
// Of `left` rows that exist, whether the one at `row` is among those that are taken.
__device__ inline bool taken(int row, int64_t left) {
  return row / kRowTile * kRowTile < left;
}

// Starts copying up to 64 rows of `columns` elements, those that are taken, with zeros where the
// row or the column does not exist.
__device__ inline void copy_rows(bf16* to, int pitch, int columns, const bf16* from, int64_t stride,
                                 int64_t rows_left, int columns_left) {
  const int vectors = columns / 8;
  for (int i = static_cast<int>(threadIdx.x); i < kTile * vectors; i += kAttentionThreads) {
    const int r = i / vectors, c = i % vectors * 8;
    if (!taken(r, rows_left)) break;
    const bool exists = r < rows_left && c < columns_left;
    async_copy_16(to + r * pitch + c, exists ? from + r * stride + c : from, exists);
  }
}

// s += own other^T over `width` channels: own points at the warp's 16 rows, other at 64 rows, of
// which the first `left` exist. A row of `other` is a column of its transpose, so ldmatrix reads it
// as it lies.
__device__ inline void add_scores(float (&s)[kTile / 8][4], const bf16* own, const bf16* other,
                                  int pitch, int width, int left, int lane) {
  for (int d = 0; d < width; d += 16) {
    uint32_t a[4];
    ldmatrix_x4(a, own + lane % 16 * pitch + d + lane / 16 * 8);
#pragma unroll
    for (int u = 0; u < kTile; u += 16) {
      if (!taken(u, left)) break;
      uint32_t b[4];
      ldmatrix_x4(b, other + (u + lane / 16 * 8 + lane % 8) * pitch + d + lane / 8 % 2 * 8);
      mma_m16n8k16(s[u / 8], a, {b[0], b[1]});
      mma_m16n8k16(s[u / 8 + 1], a, {b[2], b[3]});
    }
  }
}

// sum += s values over the first `left` of 64 rows, for `columns` <= kSlice channels: here ldmatrix
// transposes.
template <int kSlice>
__device__ inline void add_values(float (&sum)[kSlice / 8][4], const float (&s)[kTile / 8][4],
                                  const bf16* values, int pitch, int columns, int left, int lane) {
#pragma unroll
  for (int u = 0; u < kTile; u += 16) {
    if (!taken(u, left)) break;
    const float(&low)[4] = s[u / 8];
    const float(&high)[4] = s[u / 8 + 1];
    const uint32_t a[4] = {pack_bf16(low[0], low[1]), pack_bf16(low[2], low[3]),
                           pack_bf16(high[0], high[1]), pack_bf16(high[2], high[3])};
#pragma unroll
    for (int d = 0; d < kSlice; d += 16) {
      if (d >= columns) break;
      uint32_t b[4];
      ldmatrix_x4_transposed(b, values + (u + lane % 16) * pitch + d + lane / 16 * 8);
      mma_m16n8k16(sum[d / 8], a, {b[0], b[1]});
      mma_m16n8k16(sum[d / 8 + 1], a, {b[2], b[3]});
    }
  }
}

// Writes the first `rows` of a warp's 16 x columns results. They go through `own`, 16 rows of
// shared memory that only this warp has used and no longer needs, so that 16 bytes are written at a
// time.
template <int kSlice>
__device__ inline void write_rows(const float (&result)[kSlice / 8][4], bf16* own, int pitch,
                                  bf16* to, int64_t stride, int64_t rows, int columns, int lane) {
  __syncwarp();
#pragma unroll
  for (int j = 0; j < kSlice / 8; ++j) {
    if (j * 8 >= columns) break;
    bf16* at = own + lane / 4 * pitch + j * 8 + lane % 4 * 2;
    const float(&r)[4] = result[j];
    store_shared(at, from_floats<bf16>({r[0], r[1]}));
    store_shared(at + 8 * pitch, from_floats<bf16>({r[2], r[3]}));
  }
  __syncwarp();
  for (int i = lane; i < kRowTile * columns / 8; i += kWarp) {
    const int r = i / (columns / 8), c = i % (columns / 8) * 8;
    if (r < rows) store<8>(to + r * stride + c, load<8>(own + r * pitch + c));
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
