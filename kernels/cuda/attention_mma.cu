// Attention, forward, on tensor cores: bf16 heads whose width is a multiple of 16. The online
// softmax is that of attention.cu, the places of rows and keys are those of attention_mma.h.
// Queries, keys and values arrive by cp.async; the scores do not wait for the values.
#include "kernels/cuda/attention_mma.h"

#include <cmath>
#include <limits>

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int64_t kWidthMax = 512;  // sm_80 has shared memory for 64 queries and 64 keys of it

// Queries and keys, [kTile][width + kSkew] each, follow in shared memory.
template <int kSlice>
struct alignas(16) MmaShared {
  bf16 values[kTile][kSlice + kSkew];
};

// The sum and the maximum over the four lanes that share a row.
__device__ inline float row_sum(float x) {
  x += __shfl_xor_sync(kFullMask, x, 1);
  return x + __shfl_xor_sync(kFullMask, x, 2);
}
__device__ inline float row_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(kFullMask, x, 1));
  return fmaxf(x, __shfl_xor_sync(kFullMask, x, 2));
}

// One block is enough to ask for: for more the compiler would spill.
template <int kSlice>
__global__ void __launch_bounds__(kAttentionThreads, 1)
    attention_tensor(BasicAttentionArgs<bf16> args, float scale) {
  follow_previous_kernel();
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
  const int columns = std::min(kSlice, head.width - first);
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
      add_scores(s, own, keys, pitch, head.width, left, lane);
#pragma unroll
      for (int half = 0; half < 2; ++half) {  // row g, then row g + 8
        float highest = m[half];
#pragma unroll
        for (int j = 0; j < kTile / 8; ++j) {
          if (!taken(j * 8, left)) break;
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
          if (!taken(j * 8, left)) break;
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
    if (works) add_values<kSlice>(o, s, &shared.values[0][0], kSlice + kSkew, columns, left, lane);
  }
  if (!works) return;

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t row = row0 + lane / 4 + 8 * half;
    const float sum = row_sum(l[half]);
    if (first == 0 && lane % 4 == 0 && row < args.queries)
      args.lse[head.lse_at + row] = m[half] + logf(sum);
#pragma unroll
    for (int j = 0; j < kSlice / 8; ++j) {
      o[j][2 * half] /= sum;
      o[j][2 * half + 1] /= sum;
    }
  }
  write_rows<kSlice>(o, own, pitch, args.out + head.out_at + row0 * head.out_stride + first,
                     head.out_stride, args.queries - row0, columns, lane);
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
