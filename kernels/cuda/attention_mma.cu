// Attention, forward, on tensor cores: bf16 heads whose width is a multiple of 16. The online
// softmax is that of attention.cu; what differs is who holds what.
//
// A block owns 64 queries of one head, a warp 16 of them, and walks over the keys 64 at a time.
// Scores stay where mma leaves them (device/mma.h, fragment D): with g = lane / 4 and t = lane % 4
// a lane holds, of every 8 keys, keys 2t and 2t+1 for the rows g and g + 8:
//
//              keys  0 1   2 3   4 5   6 7 | 8 9 ...
//     row 0        | t=0 | t=1 | t=2 | t=3 |  0  ...    lanes 0..3
//     row 1        |  4  |  5  |  6  |  7  |  4  ...    lanes 4..7
//
// so a row's maximum and sum need two shuffles among four lanes. And the D fragments of two
// neighbouring 8-key tiles, rounded to bf16, are exactly the A fragment that p v wants: p never
// leaves the registers. k is read by ldmatrix as it lies (a row of k is a column of k^T), v by the
// transposing ldmatrix. Rows in shared memory are 16 bytes longer than they need be, so that the
// eight rows of one ldmatrix fall into different banks.
#include <cmath>
#include <limits>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/mma.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kTile = 64;           // queries of a block, keys at a time
constexpr int kRowTile = 16;        // queries of a warp
constexpr int kSkew = 8;            // elements: 16 bytes
constexpr int64_t kWidthMax = 512;  // shared memory of sm_80 holds 64 queries and 64 keys of it

// Queries and keys, [kTile][width + kSkew] each, follow in shared memory.
template <int kSlice>
struct alignas(16) MmaShared {
  bf16 values[kTile][kSlice + kSkew];
};

// rows x columns elements by cp.async, zeros where the row or the column does not exist.
__device__ inline void copy_rows(bf16* to, int pitch, int columns, const bf16* from, int64_t stride,
                                 int64_t rows_left, int columns_left) {
  const int vectors = columns / 8;
  for (int i = static_cast<int>(threadIdx.x); i < kTile * vectors; i += kAttentionThreads) {
    const int r = i / vectors, c = i % vectors * 8;
    const bool exists = r < rows_left && c < columns_left;
    async_copy_16(to + r * pitch + c, exists ? from + r * stride + c : from, exists);
  }
}

// The sum and the maximum over the four lanes that share a row.
__device__ inline float row_sum(float x) {
  x += __shfl_xor_sync(kFullMask, x, 1);
  return x + __shfl_xor_sync(kFullMask, x, 2);
}
__device__ inline float row_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(kFullMask, x, 1));
  return fmaxf(x, __shfl_xor_sync(kFullMask, x, 2));
}

template <int kSlice>
__global__ void __launch_bounds__(kAttentionThreads)
    attention_tensor(BasicAttentionArgs<bf16> args, float scale) {
  auto& shared = shared_memory<MmaShared<kSlice>>();
  const int64_t tiles = ceil_div(args.queries, kTile);
  const Head<bf16> head(args, blockIdx.x / tiles);
  const int pitch = head.width + kSkew;
  bf16* queries = reinterpret_cast<bf16*>(&shared + 1);
  bf16* keys = queries + kTile * pitch;
  const int64_t t0 = blockIdx.x % tiles * kTile;
  const int first = static_cast<int>(blockIdx.y) * kSlice;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const bf16* q = args.qkv + head.at + t0 * head.stride;
  const bf16* k = args.qkv + head.at + head.step;
  const bf16* v = k + head.step + first;
  const int64_t row0 = t0 + warp * kRowTile;
  const bool works = row0 < args.queries;  // the same for the whole warp
  bf16* own = queries + warp * kRowTile * pitch;

  copy_rows(queries, pitch, head.width, q, head.stride, args.queries - t0, head.width);
  float o[kSlice / 8][4] = {};
  float m[2] = {-std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
  float l[2] = {};  // of this lane's keys only, until the end

  for (int64_t u0 = 0; u0 < args.tokens; u0 += kTile) {
    const int left = static_cast<int>(std::min<int64_t>(args.tokens - u0, kTile));
    __syncthreads();  // nobody reads the last tiles any more
    copy_rows(keys, pitch, head.width, k + u0 * head.stride, head.stride, left, head.width);
    async_copy_commit();
    copy_rows(&shared.values[0][0], kSlice + kSkew, kSlice, v + u0 * head.stride, head.stride, left,
              head.width - first);
    async_copy_commit();
    async_copy_wait<1>();  // queries and keys; values may still be under way
    __syncthreads();

    float s[kTile / 8][4] = {};
    if (works) {
      for (int d = 0; d < head.width; d += 16) {
        uint32_t a[4];
        ldmatrix_x4(a, own + lane % 16 * pitch + d + lane / 16 * 8);
#pragma unroll
        for (int u = 0; u < kTile; u += 16) {
          if (u >= left) break;
          uint32_t b[4];
          ldmatrix_x4(b, keys + (u + lane / 16 * 8 + lane % 8) * pitch + d + lane / 8 % 2 * 8);
          mma_m16n8k16(s[u / 8], a, {b[0], b[1]});
          mma_m16n8k16(s[u / 8 + 1], a, {b[2], b[3]});
        }
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {  // row g, then row g + 8
        float highest = m[half];
#pragma unroll
        for (int j = 0; j < kTile / 8; ++j) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            float& score = s[j][2 * half + i];
            const bool exists = j * 8 + lane % 4 * 2 + i < left;
            score = exists ? score * scale : -std::numeric_limits<float>::infinity();
            highest = fmaxf(highest, score);
          }
        }
        highest = row_max(highest);
        const float correction = __expf(m[half] - highest);
        m[half] = highest;
        l[half] *= correction;
#pragma unroll
        for (int j = 0; j < kSlice / 8; ++j) {
          o[j][2 * half] *= correction;
          o[j][2 * half + 1] *= correction;
        }
#pragma unroll
        for (int j = 0; j < kTile / 8; ++j) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            s[j][2 * half + i] = __expf(s[j][2 * half + i] - highest);
            l[half] += s[j][2 * half + i];
          }
        }
      }
    }
    async_copy_wait<0>();
    __syncthreads();
    if (!works) continue;
#pragma unroll
    for (int u = 0; u < kTile; u += 16) {
      if (u >= left) break;
      const float(&low)[4] = s[u / 8];
      const float(&high)[4] = s[u / 8 + 1];
      const uint32_t p[4] = {pack_bf16(low[0], low[1]), pack_bf16(low[2], low[3]),
                             pack_bf16(high[0], high[1]), pack_bf16(high[2], high[3])};
#pragma unroll
      for (int d = 0; d < kSlice; d += 16) {
        uint32_t b[4];
        ldmatrix_x4_transposed(b, &shared.values[u + lane % 16][d + lane / 16 * 8]);
        mma_m16n8k16(o[d / 8], p, {b[0], b[1]});
        mma_m16n8k16(o[d / 8 + 1], p, {b[2], b[3]});
      }
    }
  }
  if (!works) return;

  // The result goes through the warp's own rows of the queries, which nobody needs any more, to be
  // written 16 bytes at a time.
  const int columns = std::min(kSlice, head.width - first);
  __syncwarp();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = lane / 4 + 8 * half;
    const float sum = row_sum(l[half]);
    if (first == 0 && lane % 4 == 0 && row0 + r < args.queries)
      args.lse[head.lse_at + row0 + r] = m[half] + logf(sum);
#pragma unroll
    for (int j = 0; j < kSlice / 8; ++j) {
      if (j * 8 >= columns) break;
      const Vector<bf16, 2> pair{from_float<bf16>(o[j][2 * half] / sum),
                                 from_float<bf16>(o[j][2 * half + 1] / sum)};
      store<2>(own + r * pitch + j * 8 + lane % 4 * 2, pair);
    }
  }
  __syncwarp();
  bf16* out = args.out + head.out_at + row0 * head.out_stride + first;
  for (int i = lane; i < kRowTile * columns / 8; i += kWarp) {
    const int r = i / (columns / 8), c = i % (columns / 8) * 8;
    if (row0 + r < args.queries)
      store<8>(out + r * head.out_stride + c, load<8>(own + r * pitch + c));
  }
}

}  // namespace

bool attention_mma(const BasicAttentionArgs<bf16>& args, float scale, Stream stream) {
  const int64_t width = args.channels / args.heads;
  if (width % 16 != 0 || width > kWidthMax || !aligned16(args.qkv) || !aligned16(args.out))
    return false;
  with_slice(width, true, [&]<int kSlice, bool>() {
    const dim3 grid =
        attention_grid("attention", args.n * args.heads, args.queries, kTile, width, kSlice);
    const size_t bytes =
        sizeof(MmaShared<kSlice>) + 2 * kTile * static_cast<size_t>(width + kSkew) * sizeof(bf16);
    launch<attention_tensor<kSlice>>(grid, kAttentionThreads, bytes, stream, args, scale);
  });
  return true;
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
