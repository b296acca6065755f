// Attention, backward, by plain multiply-adds: f32 storage, and bf16 heads of odd width. (Other
// bf16 heads: attention_mma_backward.cu.) attention.h explains the mapping.
//
// With p[t,u] = exp(s[t,u] - lse[t]) recomputed from the forward's lse, dp[t,u] = <dout[t], v[u]>
// and delta[t] = <dout[t], out[t]> (which is sum_u p dp, Dao et al. 2022, alg. 4):
//   ds = p (dp - delta) / sqrt(D),
//   dq[t] = sum_u ds k[u],   dk[u] = sum_t ds q[t],   dv[u] = sum_t p dout[t].
// dq is a sum over keys, dk and dv are sums over queries. One kernel that did both would need
// atomic additions, whose order is the machine's mood; so the scores are computed twice, once by
// blocks that own queries and once by blocks that own keys, and every sum has one owner and one
// order. The two are one template: they differ in which side is "own".
#include "kernels/cuda/attention.h"

#include <cmath>
#include <type_traits>

#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

// delta [N, heads, Tq]: a warp per query.
template <class T>
__global__ void __launch_bounds__(kAttentionThreads)
    output_dots(BasicAttentionBackwardArgs<T> args, float* delta) {
  follow_previous_kernel();
  const BasicAttentionArgs<T>& f = args.forward;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kAttentionWarps + threadIdx.x / kWarp;
  if (row >= f.n * f.heads * f.queries) return;  // a whole warp
  const Head<T> head(f, row / f.queries);
  const int64_t at = head.out_at + row % f.queries * head.out_stride;
  float sum = 0;
  for (int d = static_cast<int>(threadIdx.x) % kWarp; d < head.width; d += kWarp)
    sum += to_float(args.dout[at + d]) * to_float(f.out[at + d]);
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) delta[row] = sum;
}

// own1, other1 are q and k; own2, other2 are dout and v: or the other way round.
template <int kSlice>
struct BackwardShared {
  DotTile own1, other1, own2, other2;
  SharedTile<kOther, kSlice, 0> values1, values2;
  Scores p[kAttentionWarps], ds[kAttentionWarps];
};

// kKeys = false: writes dq, and zeros for tokens that do not ask. kKeys = true: writes dk and dv.
template <class T, int kSlice, bool kVectors, bool kKeys>
__global__ void __launch_bounds__(kAttentionThreads, 2)
    attention_backward_plain(BasicAttentionBackwardArgs<T> args, float scale, const float* deltas) {
  follow_previous_kernel();
  auto& shared = shared_memory<BackwardShared<kSlice>>();
  const BasicAttentionArgs<T>& f = args.forward;
  const int64_t tiles = ceil_div(f.tokens, kOwn);
  const Head<T> head(f, blockIdx.x / tiles);
  const int64_t first_own = blockIdx.x % tiles * kOwn;
  const int first = static_cast<int>(blockIdx.y) * kSlice;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const T* q = f.qkv + head.at;
  const T* k = q + head.step;
  const T* v = k + head.step;
  const T* dout = args.dout + head.out_at;
  const float* lse = f.lse + head.lse_at;
  const float* delta = deltas + head.lse_at;

  const int64_t owns = kKeys ? f.tokens : f.queries;
  const int64_t others = first_own >= owns ? 0 : kKeys ? f.queries : f.tokens;
  const int64_t own2_stride = kKeys ? head.stride : head.out_stride;
  const int64_t other2_stride = kKeys ? head.out_stride : head.stride;
  const T* own1 = (kKeys ? k : q) + first_own * head.stride;
  const T* own2 = (kKeys ? v : dout) + first_own * own2_stride;
  const T* other1 = kKeys ? q : k;
  const T* other2 = kKeys ? dout : v;

  float sum1[kRows][kSlice / kWarp] = {};                               // dq or dk
  [[maybe_unused]] float sum2[kKeys ? kRows : 1][kSlice / kWarp] = {};  // dv
  float lse_of[kKeys ? 1 : kRows] = {}, delta_of[kKeys ? 1 : kRows] = {};
  if constexpr (!kKeys) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int64_t t = first_own + warp * kRows + r;
      lse_of[r] = t < f.queries ? lse[t] : 0;
      delta_of[r] = t < f.queries ? delta[t] : 0;
    }
  }

  for (int64_t o0 = 0; o0 < others; o0 += kOther) {
    float s[kRows] = {}, dp[kRows] = {};
    const int64_t left = others - o0, own_left = owns - first_own;
    for (int d0 = 0; d0 < head.width; d0 += kDots) {
      const int width = head.width - d0;
      __syncthreads();  // nobody reads the last tiles any more
      load_tile<kVectors>(shared.own1, own1 + d0, head.stride, own_left, width);
      load_tile<kVectors>(shared.own2, own2 + d0, own2_stride, own_left, width);
      load_tile<kVectors>(shared.other1, other1 + o0 * head.stride + d0, head.stride, left, width);
      load_tile<kVectors>(shared.other2, other2 + o0 * other2_stride + d0, other2_stride, left,
                          width);
      if (d0 == 0) {
        load_tile<kVectors>(shared.values1, other1 + o0 * head.stride + first, head.stride, left,
                            head.width - first);
        if constexpr (kKeys)
          load_tile<kVectors>(shared.values2, other2 + o0 * other2_stride + first, other2_stride,
                              left, head.width - first);
      }
      __syncthreads();
      add_dots(shared.own1, shared.other1, warp, lane, s);
      add_dots(shared.own2, shared.other2, warp, lane, dp);
    }
    const bool exists = lane < left;
    if constexpr (kKeys) {
      lse_of[0] = exists ? lse[o0 + lane] : 0;
      delta_of[0] = exists ? delta[o0 + lane] : 0;
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const float p = exists ? __expf(s[r] * scale - lse_of[kKeys ? 0 : r]) : 0.0f;
      shared.ds[warp].data[r][lane] = p * (dp[r] - delta_of[kKeys ? 0 : r]) * scale;
      if constexpr (kKeys) shared.p[warp].data[r][lane] = p;
    }
    __syncwarp();
    add_product<kSlice>(shared.ds[warp], shared.values1, lane, sum1);
    if constexpr (kKeys) add_product<kSlice>(shared.p[warp], shared.values2, lane, sum2);
  }

  T* dqkv = args.dqkv + head.at + (kKeys ? head.step : 0) + first;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int64_t row = first_own + warp * kRows + r;
    if (row >= f.tokens) continue;
    T* to = dqkv + row * head.stride;
#pragma unroll
    for (int i = 0; i < kSlice / kWarp; ++i) {
      const int d = lane + kWarp * i;
      if (first + d >= head.width) continue;
      to[d] = from_float<T>(row < owns ? sum1[r][i] : 0.0f);
      if constexpr (kKeys) to[head.step + d] = from_float<T>(sum2[r][i]);
    }
  }
}

}  // namespace

template <class T>
void attention_backward(const BasicAttentionBackwardArgs<T>& args, Stream stream) {
  const BasicAttentionArgs<T>& f = args.forward;
  if (f.n == 0) return;
  const int64_t width = f.channels / f.heads, rows = f.n * f.heads * f.queries;
  const float scale = 1.0f / std::sqrt(static_cast<float>(width));
  auto* delta = static_cast<float*>(workspace(static_cast<size_t>(rows) * sizeof(float), stream));
  launch<output_dots<T>>(static_cast<unsigned>(ceil_div(rows, kAttentionWarps)), kAttentionThreads,
                         0, stream, args, delta);
  if constexpr (std::is_same_v<T, bf16>)
    if (attention_backward_mma(args, scale, delta, stream)) return;
  const bool vectors = width % 4 == 0 && aligned16(f.qkv) && aligned16(args.dout);
  with_slice(width, vectors, [&]<int kSlice, bool kVectors>() {
    const dim3 grid =
        attention_grid("attention_backward", f.n * f.heads, f.tokens, kOwn, width, kSlice);
    constexpr size_t bytes = sizeof(BackwardShared<kSlice>);
    launch<attention_backward_plain<T, kSlice, kVectors, false>>(grid, kAttentionThreads, bytes,
                                                                 stream, args, scale, delta);
    launch<attention_backward_plain<T, kSlice, kVectors, true>>(grid, kAttentionThreads, bytes,
                                                                stream, args, scale, delta);
  });
}
template void attention_backward(const BasicAttentionBackwardArgs<float>&, Stream);
template void attention_backward(const BasicAttentionBackwardArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
