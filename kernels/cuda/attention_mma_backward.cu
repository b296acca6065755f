// Attention, backward, on tensor cores: bf16 heads whose width is a multiple of 16. The formulas
// and the two directions (blocks that own queries, blocks that own keys) are those of
// attention_backward.cu, the places of rows and fragments those of attention_mma.h.
//
// All four tiles lie in shared memory at their whole width, so the same copy of the other side
// serves the scores (read row by row) and the sums (read transposed).
#include "kernels/cuda/attention_mma.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int64_t kWidthMax = 256;  // sm_80 has shared memory for four tiles of it
constexpr int kWidestSlice = 64;    // registers hold two sums of it beside the scores

// The tiles own1, own2, other1, other2, [kTile][width + kSkew] each, follow in shared memory.
struct alignas(16) MmaBackwardShared {
  float lse[kTile], delta[kTile];  // of the other side, where that is the queries
};

// kKeys = false: writes dq, and zeros for tokens that do not ask. kKeys = true: writes dk and dv.
template <int kSlice, bool kKeys>
__global__ void __launch_bounds__(kAttentionThreads, 2)
    attention_backward_tensor(BasicAttentionBackwardArgs<bf16> args, float scale,
                              const float* deltas) {
  follow_previous_kernel();
  auto& shared = shared_memory<MmaBackwardShared>();
  const BasicAttentionArgs<bf16>& f = args.forward;
  const int64_t tiles = ceil_div(f.tokens, kTile);
  const Head<bf16> head(f, blockIdx.x / tiles);
  const int64_t first_own = blockIdx.x % tiles * kTile;
  const int first = static_cast<int>(blockIdx.y) * kSlice;
  const int columns = std::min(kSlice, head.width - first), pitch = head.width + kSkew;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  bf16* own1 = reinterpret_cast<bf16*>(&shared + 1);
  bf16* own2 = own1 + kTile * pitch;
  bf16* other1 = own2 + kTile * pitch;
  bf16* other2 = other1 + kTile * pitch;
  const bf16* q = f.qkv + head.at;
  const bf16* k = q + head.step;
  const bf16* v = k + head.step;
  const bf16* dout = args.dout + head.out_at;
  const float* lse = f.lse + head.lse_at;
  const float* delta = deltas + head.lse_at;

  const int64_t owns = kKeys ? f.tokens : f.queries;
  const int64_t others = first_own >= owns ? 0 : kKeys ? f.queries : f.tokens;
  const int64_t own2_stride = kKeys ? head.stride : head.out_stride;
  const int64_t other2_stride = kKeys ? head.out_stride : head.stride;
  const int64_t row0 = first_own + warp * kRowTile;
  const bool works = row0 < owns;  // the same for the whole warp
  bf16* mine1 = own1 + warp * kRowTile * pitch;
  bf16* mine2 = own2 + warp * kRowTile * pitch;
  if (others > 0) {
    copy_rows(own1, pitch, head.width, (kKeys ? k : q) + first_own * head.stride, head.stride,
              owns - first_own, head.width);
    copy_rows(own2, pitch, head.width, (kKeys ? v : dout) + first_own * own2_stride, own2_stride,
              owns - first_own, head.width);
  }
  float own_lse[2] = {}, own_delta[2] = {};
  if constexpr (!kKeys) {
    for (int half = 0; half < 2; ++half) {
      const int64_t t = row0 + lane / 4 + 8 * half;
      own_lse[half] = t < f.queries ? lse[t] : 0;
      own_delta[half] = t < f.queries ? delta[t] : 0;
    }
  }

  float sum1[kSlice / 8][4] = {};                               // dq or dk
  [[maybe_unused]] float sum2[kKeys ? kSlice / 8 : 1][4] = {};  // dv
  for (int64_t o0 = 0; o0 < others; o0 += kTile) {
    const int left = static_cast<int>(std::min<int64_t>(others - o0, kTile));
    __syncthreads();  // nobody reads the last tiles any more
    copy_rows(other1, pitch, head.width, (kKeys ? q : k) + o0 * head.stride, head.stride, left,
              head.width);
    copy_rows(other2, pitch, head.width, (kKeys ? dout : v) + o0 * other2_stride, other2_stride,
              left, head.width);
    async_copy_commit();
    if constexpr (kKeys) {
      if (const int i = static_cast<int>(threadIdx.x); i < kTile) {
        shared.lse[i] = i < left ? lse[o0 + i] : 0;
        shared.delta[i] = i < left ? delta[o0 + i] : 0;
      }
    }
    async_copy_wait<0>();
    __syncthreads();

    if (!works) continue;
    float p[kTile / 8][4] = {}, ds[kTile / 8][4] = {};
    add_scores(p, mine1, other1, pitch, head.width, left, lane);
    add_scores(ds, mine2, other2, pitch, head.width, left, lane);
#pragma unroll
    for (int j = 0; j < kTile / 8; ++j) {
      if (!taken(j * 8, left)) break;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int other = j * 8 + lane % 4 * 2 + i % 2;
        const float l = kKeys ? shared.lse[other] : own_lse[i / 2];
        const float d = kKeys ? shared.delta[other] : own_delta[i / 2];
        p[j][i] = other < left ? __expf(p[j][i] * scale - l) : 0.0f;
        ds[j][i] = p[j][i] * (ds[j][i] - d) * scale;
      }
    }
    add_values<kSlice>(sum1, ds, other1 + first, pitch, columns, left, lane);
    if constexpr (kKeys) add_values<kSlice>(sum2, p, other2 + first, pitch, columns, left, lane);
  }

  if (row0 >= f.tokens) return;
  if constexpr (!kKeys) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (row0 + lane / 4 + i / 2 * 8 < owns) continue;
#pragma unroll
      for (int j = 0; j < kSlice / 8; ++j) sum1[j][i] = 0;
    }
  }
  bf16* to = args.dqkv + head.at + row0 * head.stride + first + (kKeys ? head.step : 0);
  write_rows<kSlice>(sum1, mine1, pitch, to, head.stride, f.tokens - row0, columns, lane);
  if constexpr (kKeys)
    write_rows<kSlice>(sum2, mine2, pitch, to + head.step, head.stride, f.tokens - row0, columns,
                       lane);
}

}  // namespace

bool attention_backward_mma(const BasicAttentionBackwardArgs<bf16>& args, float scale,
                            const float* delta, Stream stream) {
  const BasicAttentionArgs<bf16>& f = args.forward;
  const int64_t width = f.channels / f.heads;
  if (width % 16 != 0 || width > kWidthMax || !aligned16(f.qkv) || !aligned16(args.dout) ||
      !aligned16(args.dqkv))
    return false;
  with_slice(std::min<int64_t>(width, kWidestSlice), true, [&]<int kSlice, bool>() {
    if constexpr (kSlice <= kWidestSlice) {
      const dim3 grid =
          attention_grid("attention_backward", f.n * f.heads, f.tokens, kTile, width, kSlice);
      const size_t bytes =
          sizeof(MmaBackwardShared) + 4 * kTile * static_cast<size_t>(width + kSkew) * sizeof(bf16);
      launch<attention_backward_tensor<kSlice, false>>(grid, kAttentionThreads, bytes, stream, args,
                                                       scale, delta);
      launch<attention_backward_tensor<kSlice, true>>(grid, kAttentionThreads, bytes, stream, args,
                                                      scale, delta);
    }
  });
  return true;
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
