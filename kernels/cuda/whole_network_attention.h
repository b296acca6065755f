// Attention in the whole-network kernel: attention_mma.cu's arithmetic on planes. A warp owns 16
// queries of one head and walks over 64 keys at a time; scores stay in its registers, where the
// fragment D of one product is the fragment A of the next (attention_mma.h has the picture).
#pragma once

#include <limits>

#include "kernels/cuda/device/mma.h"
#include "kernels/cuda/whole_network.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// Where chunk `chunk`, of eight channels, of a pixel of a list of planes lies.
struct PixelChunks {
  unsigned char* arena;
  WholeNetworkPlane plane;
  PixelOfRow pixel;

  __device__ explicit PixelChunks(WholeShared& shared)
      : arena(shared.arena()),
        plane{shared.layer.side},
        pixel{plane.side, WholeNetworkPlane::inverse_of(plane.side)} {}
  __device__ unsigned char* operator()(const int32_t* places, int token, int chunk) const {
    const int position = plane.first() + token + pixel.y(token);
    return at_position(arena + places[chunk / 4], chunk % 4 * plane.chunk() + position);
  }
};

// Queries [row0, row0 + 16) of a head whose q, k, v begin at chunks q, q + width / 8, ...
template <int width>
__device__ inline void attend(WholeShared& shared, int head, int row0) {
  constexpr int kKeys = 64, kChunks = width / 8;
  const WholeNetworkLayer& layer = shared.layer;
  const PixelChunks place(shared);
  const auto chunk_of = [&](int token, int chunk) { return place(layer.in, token, chunk); };
  const int tokens = layer.side * layer.side, last = tokens - 1;
  const int lane = this_lane();
  const int q = head * 3 * kChunks, k = q + kChunks, v = k + kChunks;
  const float scale = 1 / sqrtf(static_cast<float>(width));
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  float o[kChunks][4] = {}, m[2] = {kLowest, kLowest}, l[2] = {};

  // Rows that do not exist are read as the last one: their scores are -infinity, and a query's
  // result is not written.
  for (int u0 = 0; u0 < tokens; u0 += kKeys) {
    float s[kKeys / 8][4] = {};
#pragma unroll
    for (int d = 0; d < kChunks; d += 2) {
      uint32_t a[4];
      ldmatrix_x4(a, chunk_of(min(row0 + lane % 16, last), q + d + lane / 16));
#pragma unroll
      for (int u = 0; u < kKeys; u += 16) {
        if (u0 + u >= tokens) break;
        uint32_t b[4];
        const int key = min(u0 + u + lane / 16 * 8 + lane % 8, last);
        ldmatrix_x4(b, chunk_of(key, k + d + lane / 8 % 2));
        mma_m16n8k16(s[u / 8], a, {b[0], b[1]});
        mma_m16n8k16(s[u / 8 + 1], a, {b[2], b[3]});
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // row g, then row g + 8
      float highest = m[half];
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = s[j][2 * half + i];
          score = u0 + j * 8 + lane % 4 * 2 + i < tokens ? score * scale : kLowest;
          highest = fmaxf(highest, score);
        }
      }
      highest = fmaxf(highest, __shfl_xor_sync(kFullMask, highest, 1));
      highest = fmaxf(highest, __shfl_xor_sync(kFullMask, highest, 2));
      const float correction = __expf(m[half] - highest);
      m[half] = highest;
      l[half] *= correction;
#pragma unroll
      for (int j = 0; j < kChunks; ++j) {
        o[j][2 * half] *= correction;
        o[j][2 * half + 1] *= correction;
      }
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = s[j][2 * half + i];
          score = __expf(score - highest);
          l[half] += score;
        }
      }
    }
#pragma unroll
    for (int u = 0; u < kKeys; u += 16) {
      if (u0 + u >= tokens) break;
      const float(&low)[4] = s[u / 8];
      const float(&high)[4] = s[u / 8 + 1];
      const uint32_t a[4] = {pack_bf16(low[0], low[1]), pack_bf16(low[2], low[3]),
                             pack_bf16(high[0], high[1]), pack_bf16(high[2], high[3])};
#pragma unroll
      for (int d = 0; d < kChunks; d += 2) {
        uint32_t b[4];
        ldmatrix_x4_transposed(b, chunk_of(min(u0 + u + lane % 16, last), v + d + lane / 16));
        mma_m16n8k16(o[d], a, {b[0], b[1]});
        mma_m16n8k16(o[d + 1], a, {b[2], b[3]});
      }
    }
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = l[half];
    sum += __shfl_xor_sync(kFullMask, sum, 1);
    sum += __shfl_xor_sync(kFullMask, sum, 2);
    const int row = row0 + lane / 4 + 8 * half;
    if (row >= tokens) continue;
#pragma unroll
    for (int j = 0; j < kChunks; ++j) {
      const int chunk = head * kChunks + j;
      unsigned char* const to = place(layer.out, row, chunk) + lane % 4 * 4;
      store_shared(reinterpret_cast<bf16*>(to),
                   from_floats<bf16>({o[j][2 * half] / sum, o[j][2 * half + 1] / sum}));
    }
  }
}

// One layer. All threads; the output may be read after a barrier.
__device__ inline void attend(WholeShared& shared) {
  const WholeNetworkLayer& layer = shared.layer;
  const int tiles = static_cast<int>(ceil_div(layer.side * layer.side, 16));
  const int width = 32 * layer.out_planes / layer.heads;
  for (int i = this_warp(); i < layer.heads * tiles; i += kWholeWarps) {
    const int head = i / tiles, row0 = i % tiles * 16;
    if (width == 16) attend<16>(shared, head, row0);
    if (width == 32) attend<32>(shared, head, row0);
    if (width == 64) attend<64>(shared, head, row0);
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
