// Attention, forward, by plain multiply-adds: f32 storage, and bf16 heads of odd width. (Other bf16
// heads: attention_mma.cu.) attention.h explains the mapping.
//
// Scores are made 32 x 32 at a time and used at once. Softmax needs the row's maximum before its
// first term, which is not known until the last key: so the running maximum m is corrected as the
// keys go by, and with it the running sum l and the running output (the online softmax of Milakov &
// Gimelshein 2018, on which flash attention stands):
//   m' = max(m, max_u s[u]),  l' = l e^(m-m') + sum_u e^(s[u]-m'),  o' = o e^(m-m') + sum_u
//   e^(s[u]-m') v[u],   in the end out = o / l and lse = m + log l.
#include "kernels/cuda/attention.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

template <int kSlice>
struct ForwardShared {
  DotTile queries, keys;
  SharedTile<kOther, kSlice, 0> values;
  Scores scores[kAttentionWarps];
};

template <class T, int kSlice, bool kVectors>
__global__ void __launch_bounds__(kAttentionThreads, 3)
    attention_plain(BasicAttentionArgs<T> args, float scale) {
  follow_previous_kernel();
  auto& shared = shared_memory<ForwardShared<kSlice>>();
  const int64_t tiles = ceil_div(args.queries, kOwn);
  const Head<T> head(args, blockIdx.x / tiles);
  const int64_t t0 = blockIdx.x % tiles * kOwn;
  const int first = static_cast<int>(blockIdx.y) * kSlice;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const T* q = args.qkv + head.at + t0 * head.stride;
  const T* k = args.qkv + head.at + head.step;
  const T* v = k + head.step + first;
  const bool works = t0 + warp * kRows < args.queries;  // the same for the whole warp

  float m[kRows], l[kRows], o[kRows][kSlice / kWarp] = {};
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    m[r] = -std::numeric_limits<float>::infinity();
    l[r] = 0;
  }
  for (int64_t u0 = 0; u0 < args.tokens; u0 += kOther) {
    float s[kRows] = {};
    for (int d0 = 0; d0 < head.width; d0 += kDots) {
      __syncthreads();  // nobody reads the last tiles any more
      load_tile<kVectors>(shared.queries, q + d0, head.stride, args.queries - t0, head.width - d0);
      load_tile<kVectors>(shared.keys, k + u0 * head.stride + d0, head.stride, args.tokens - u0,
                          head.width - d0);
      if (d0 == 0)
        load_tile<kVectors>(shared.values, v + u0 * head.stride, head.stride, args.tokens - u0,
                            head.width - first);
      __syncthreads();
      if (works) add_dots(shared.queries, shared.keys, warp, lane, s);
    }
    if (!works) continue;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      s[r] = u0 + lane < args.tokens ? s[r] * scale : -std::numeric_limits<float>::infinity();
      const float highest = fmaxf(m[r], warp_max(s[r]));
      const float correction = __expf(m[r] - highest), p = __expf(s[r] - highest);
      m[r] = highest;
      l[r] = l[r] * correction + p;  // this lane's keys only, until the end
#pragma unroll
      for (int i = 0; i < kSlice / kWarp; ++i) o[r][i] *= correction;
      shared.scores[warp].data[r][lane] = p;
    }
    __syncwarp();
    add_product<kSlice>(shared.scores[warp], shared.values, lane, o);
  }
  if (!works) return;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int64_t t = t0 + warp * kRows + r;
    const float sum = warp_sum(l[r]);
    if (t >= args.queries) continue;
    if (lane == 0 && first == 0) args.lse[head.lse_at + t] = m[r] + logf(sum);
    T* out = args.out + head.out_at + t * head.out_stride + first;
#pragma unroll
    for (int i = 0; i < kSlice / kWarp; ++i) {
      const int d = lane + kWarp * i;
      if (first + d < head.width) out[d] = from_float<T>(o[r][i] / sum);
    }
  }
}

}  // namespace

template <class T>
void attention(const BasicAttentionArgs<T>& args, Stream stream) {
  if (args.n == 0) return;
  const int64_t width = args.channels / args.heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(width));
  if constexpr (std::is_same_v<T, bf16>)
    if (attention_mma(args, scale, stream)) return;
  const bool vectors = width % 4 == 0 && aligned16(args.qkv);
  with_slice(width, vectors, [&]<int kSlice, bool kVectors>() {
    const dim3 grid =
        attention_grid("attention", args.n * args.heads, args.queries, kOwn, width, kSlice);
    launch<attention_plain<T, kSlice, kVectors>>(
        grid, kAttentionThreads, sizeof(ForwardShared<kSlice>), stream, args, scale);
  });
}
template void attention(const BasicAttentionArgs<float>&, Stream);
template void attention(const BasicAttentionArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
