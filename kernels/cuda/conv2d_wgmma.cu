// Convolution and backward to input, the rung for wide layers on Hopper: warpgroup products
// (device/wgmma.h), bf16, channels in multiples of 8. Compiled for sm_90a; for other architectures
// the kernel is empty, and never launched.
//
// The same implicit matrix product as conv2d_mma.cu, in larger pieces. Two warpgroups share a tile
// of 256 output pixels by 128 or 192 channels, each has 128 of the pixels, and its sums fill most
// of its registers. A step is one tap and 64 source channels: rows of 128 bytes, as wgmma reads
// them from shared memory without passing them through registers. So a step of a warpgroup is eight
// instructions, which keep the tensor cores busy for a thousand cycles, and meanwhile its threads
// gather the operands of a later step:
//
//   step s   wait for the copies of s | barrier | start products of s | start copies of s + ahead |
//            wait for the products of s - 1
//
// Products of s - 1 may still read when some warps are past that wait and others are not: the
// barrier of the next step tells that all are. So a stage is filled again two steps after its use,
// and of kStages stages, kStages - 2 are ahead.
//
// All taps of 64 channels come one after the other, and the image is copied by way of the L1, whose
// share of the multiprocessor holds what neighbouring taps read again: of nine reads of a pixel one
// comes from L2. The filter passes by it. A tile this tall reads each weight for 256 pixels, which
// is what the L2 can deliver while the tensor cores multiply; 128 would need twice as much.
//
// One image of a deep level has few tiles, so the summed index is cut into slices until all
// multiprocessors have one; the slices' sums go to memory in f32 and a second kernel adds them in
// order (matmul_rungs.h). The number of slices follows from shape and device alone: results are
// reproducible, but an image's last bits may depend on the batch that it is in.
#include <algorithm>

#include "kernels/cuda/conv2d_gather.h"
#include "kernels/cuda/conv2d_rungs.h"
#include "kernels/cuda/device/async_copy_cached.h"
#include "kernels/cuda/device/wgmma.h"
#include "kernels/cuda/matmul_rungs.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kStep = 64;         // channels
constexpr int kChunks = 8;        // of eight channels
constexpr int kInner = 16;        // channels of one product
constexpr int kStepsOfSlice = 4;  // at least
constexpr int kSlicesMax = 16;

template <int kN_, bool backward, bool enlarged>
struct WgmmaTile {
  static constexpr int kM = 256, kN = kN_;
  static constexpr bool kBackward = backward, kEnlarged = enlarged;
  static constexpr int kGroups = 2, kThreads = kGroups * kWarpgroup;
  static constexpr int kHalves = kM / kGroups / 64;  // products of 64 rows, of a group
  // What shared memory leaves is the L1: about 60 KB.
  static constexpr int kStages = kN == 128 ? 4 : 3, kAhead = kStages - 2;

  struct Stage {
    SwizzledRows<kM> a;
    // Forward a row for each result channel, along the source's channels. Backward the result's
    // channels are the contiguous ones: a row for each source channel, of 64 result channels, and
    // as many such blocks as there are 64s.
    SwizzledRows<kN> b;
  };
  struct Rows {  // results on their way out, sixteen rows of each warp's
    float of_warp[kThreads / kWarp][16][kN + 8];
  };
  union Shared {
    Stage stage[kStages];
    Rows rows;
  };
};

// A walk over the summed index: 64 channels of the first tensor and all their taps, the next 64,
// then those of the second tensor.
struct ChannelWalk {
  int channel, i, j;
  bool second;

  static __host__ __device__ int64_t steps(const ConvGather<bf16>& g, const Phase& p) {
    return (ceil_div(g.c0, kStep) + ceil_div(g.c1, kStep)) * p.y.taps * p.x.taps;
  }
  // Behind the last channel if there are no taps.
  __device__ ChannelWalk(const ConvGather<bf16>& g, const Phase& p, int step) {
    const int taps = p.y.taps * p.x.taps, groups0 = static_cast<int>(ceil_div(g.c0, kStep));
    if (taps == 0) {
      channel = g.c0;
      i = j = 0;
      second = false;
      return;
    }
    const int group = step / taps, tap = step % taps;
    second = group >= groups0;
    channel = (second ? group - groups0 : group) * kStep;
    i = tap / p.x.taps;
    j = tap % p.x.taps;
  }
  __device__ void advance(const ConvGather<bf16>& g, const Phase& p) {
    if (++j < p.x.taps) return;
    j = 0;
    if (++i < p.y.taps) return;
    i = 0;
    channel += kStep;
    if (second || channel < g.c0) return;
    channel = 0;
    second = true;
  }
};

// The way of a step's operands to its stage. A thread has the same chunk of every 32nd row, and of
// each row of A two numbers, so that little is left to compute at each step.
template <class Tile>
struct StepCopy {
  static constexpr int kApart = Tile::kThreads / kChunks;
  static_assert(kApart % 8 == 0);
  static constexpr int kRowsA = Tile::kM / kApart, kRowsB = Tile::kN / kApart;
  static constexpr int kColumnTaps = 8, kOddY = 16, kOddX = 17;  // bits

  ChannelWalk walk;
  int pixel[kRowsA];  // of the source: where a tap that is not shifted reads
  // The taps that are inside the image: bit i for the i-th row of taps, bit 8 + j for the j-th
  // column. And whether the output's row and column in an enlarged image are odd.
  int taps[kRowsA];

  // Notes the taps that rows at `at` have.
  __device__ void note(const Axis& axis, const int (&at)[kRowsA], int first_bit) {
    int position;
#pragma unroll 1
    for (int i = 0; i < axis.taps; ++i) {
      const Axis::Tap tap = axis.tap(i);
#pragma unroll
      for (int row = 0; row < kRowsA; ++row)
        if (axis.find(at[row], tap, position)) taps[row] |= 1 << (first_bit + i);
    }
  }

  __device__ StepCopy(const ConvGather<bf16>& g, const Phase& p, int64_t row0, int64_t outputs,
                      int step)
      : walk(g, p, step) {
    constexpr int kHalvings = Tile::kEnlarged;
    const int slot = static_cast<int>(threadIdx.x) / kChunks;
    const Phase::Origin origin = p.origin(row0);
    int at_y[kRowsA], at_x[kRowsA];
#pragma unroll
    for (int i = 0; i < kRowsA; ++i) {
      const Phase::Place at = p.place(origin, slot + i * kApart);
      const int y = p.y.scale * at.y, x = p.x.scale * at.x;
      pixel[i] = (static_cast<int>(at.n) * g.h + (y >> kHalvings)) * g.w + (x >> kHalvings);
      taps[i] = Tile::kEnlarged ? (y & 1) << kOddY | (x & 1) << kOddX : 0;
      at_y[i] = row0 + slot + i * kApart < outputs ? at.y : -p.y.limit - 2;  // has none
      at_x[i] = at.x;
    }
    note(p.y, at_y, 0);
    note(p.x, at_x, kColumnTaps);
  }

  __device__ void start(typename Tile::Stage& stage, const ConvGather<bf16>& g, const Phase& p,
                        int column0) {
    int t = static_cast<int>(threadIdx.x);
    forget_origin(t);  // of up to 192 sums a thread, few registers are left
    const int slot = t / kChunks, chunk = t % kChunks;
    const Axis::Tap tap_y = p.y.tap(walk.i), tap_x = p.x.tap(walk.j);
    const int channels = walk.second ? g.c1 : g.c0, left = channels - walk.channel;
    const bf16* source = (walk.second ? g.x1 : g.x0) + walk.channel + chunk * 8;
    // Past the last channel a tap that no row has.
    const int tap = chunk * 8 < left ? 1 << walk.i | 1 << (kColumnTaps + walk.j) : 1 << 30;
    const int shift = tap_y.shift * g.w + tap_x.shift;
    constexpr int kFurther = kApart * 64;  // the thread's next row, whose chunks lie in this order
    bf16* to = stage.a.chunk(slot, chunk);
#pragma unroll
    for (int i = 0; i < kRowsA; ++i) {
      int at = pixel[i] + shift;
      if (Tile::kEnlarged)
        at = pixel[i] + (((taps[i] >> kOddY & 1) + tap_y.shift) >> 1) * g.w +
             (((taps[i] >> kOddX & 1) + tap_x.shift) >> 1);
      async_copy_16_cached(to + i * kFurther, source + static_cast<int64_t>(at) * channels,
                           (taps[i] & tap) == tap);
    }

    const bf16* weight = g.weight + (tap_y.row * g.filter + tap_x.row) * g.tap_stride +
                         (walk.channel + (walk.second ? g.c0 : 0)) * g.in_stride;
    const int outs = g.outs() - column0;
    to = stage.b.chunk(slot, chunk);
    if (Tile::kBackward) {
      weight += slot * g.in_stride + column0 + chunk * 8;
#pragma unroll
      for (int i = 0; i < kRowsB; ++i) {
        const int inner = i * kApart % 64, block = i * kApart / 64 * 64;
        async_copy_16(to + i * kFurther, weight + inner * g.in_stride + block,
                      slot + inner < left && block + chunk * 8 < outs);
      }
    } else {
      weight += (column0 + slot) * g.out_stride + chunk * 8;
#pragma unroll
      for (int i = 0; i < kRowsB; ++i)
        async_copy_16(to + i * kFurther, weight + i * kApart * g.out_stride,
                      slot + i * kApart < outs && chunk * 8 < left);
    }
    walk.advance(g, p);
  }
};

// Starts the products of a step.
template <class Tile>
__device__ void start_products(float (&sum)[Tile::kHalves][Tile::kN / 2],
                               const typename Tile::Stage& stage) {
  constexpr int kRowBytes = SwizzledRows<64>::kRowBytes;
  constexpr int kInnerOfA = kInner * 2;
  constexpr int kInnerOfB = Tile::kBackward ? kInner * kRowBytes : kInner * 2;
  const int group = static_cast<int>(threadIdx.x) / kWarpgroup;
  const uint64_t a = matrix_descriptor(&stage.a.at[group * Tile::kHalves * 64]);
  const uint64_t b = matrix_descriptor(&stage.b, Tile::kBackward ? 64 * kRowBytes : 16);
  warpgroup_fence();
#pragma unroll
  for (int step = 0; step < kStep / kInner; ++step)
#pragma unroll
    for (int half = 0; half < Tile::kHalves; ++half)
      warpgroup_mma<Tile::kBackward>(sum[half], a + (half * 64 * kRowBytes + step * kInnerOfA) / 16,
                                     b + step * kInnerOfB / 16);
  warpgroup_commit();
}

// Calls write(row, column, sums) for runs of eight columns; sums pass through shared memory, as in
// mma_tile.h.
template <class Tile, class Write>
__device__ void each_run(typename Tile::Rows& shared,
                         const float (&sum)[Tile::kHalves][Tile::kN / 2], Write write) {
  constexpr int kRuns = Tile::kN / 8;
  const int t = static_cast<int>(threadIdx.x), lane = t % kWarp, warp = t / kWarp;
  auto& rows = shared.of_warp[warp];
#pragma unroll
  for (int half = 0; half < Tile::kHalves; ++half) {
#pragma unroll
    for (int j = 0; j < Tile::kN / 8; ++j) {
      const float* d = &sum[half][4 * j];
      const int column = 8 * j + lane % 4 * 2;
      store_shared(&rows[lane / 4][column], Vector<float, 2>{d[0], d[1]});
      store_shared(&rows[lane / 4 + 8][column], Vector<float, 2>{d[2], d[3]});
    }
    __syncwarp();
    const int row0 = (warp / 4 * Tile::kHalves + half) * 64 + warp % 4 * 16;
#pragma unroll 4
    for (int run = lane; run < 16 * kRuns; run += kWarp) {
      float x[8];
#pragma unroll
      for (int part = 0; part < 8; part += 4) {
        const auto four = load<4>(&rows[run / kRuns][run % kRuns * 8 + part]);
#pragma unroll
        for (int k = 0; k < 4; ++k) x[part + k] = four[k];
      }
      write(row0 + run / kRuns, run % kRuns * 8, x);
    }
    __syncwarp();
  }
}

// Slice blockIdx.y of the steps of phase blockIdx.z. `partials`: null, or where the slices' sums go
// ([slices, outputs, channels]).
template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    conv2d_wgmma_kernel(ConvGather<bf16> g, Split split, float* partials) {
  if (kHasWarpgroups) {
    follow_previous_kernel();
    auto& shared = swizzled_shared_memory<typename Tile::Shared>();
    const Phase& p = g.phases.phase[blockIdx.z];
    const int64_t outputs = g.n * p.image.value();
    const int tiles_n = static_cast<int>(ceil_div(g.outs(), Tile::kN));
    const int64_t row0 = blockIdx.x / tiles_n * int64_t{Tile::kM};
    const int column0 = static_cast<int>(blockIdx.x % tiles_n) * Tile::kN;
    if (row0 >= outputs) return;  // phases differ in size
    const int all = static_cast<int>(ChannelWalk::steps(g, p));
    const int begin = static_cast<int>(blockIdx.y * split.length);
    const int left = all - begin;
    int steps = left < split.length ? left : static_cast<int>(split.length);
    if (steps == 0) steps = 1;  // a phase without taps: of zeros

    StepCopy<Tile> copy(g, p, row0, outputs, begin);
    float sum[Tile::kHalves][Tile::kN / 2] = {};
#pragma unroll
    for (int step = 0; step < Tile::kAhead; ++step) {
      if (step < steps) copy.start(shared.stage[step], g, p, column0);
      async_copy_commit();
    }
    int now = 0;
#pragma unroll 1
    for (int step = 0;; ++step) {
      async_copy_wait<Tile::kAhead - 1>();
      async_proxy_fence();
      __syncthreads();
      start_products<Tile>(sum, shared.stage[now]);
      const int next = now + Tile::kAhead;
      if (step + Tile::kAhead < steps)
        copy.start(shared.stage[next < Tile::kStages ? next : next - Tile::kStages], g, p, column0);
      async_copy_commit();
      if (step + 1 == steps) break;
      warpgroup_wait<1>();
      now = now + 1 == Tile::kStages ? 0 : now + 1;
    }
    warpgroup_wait<0>();
#pragma unroll
    for (auto& d : sum) arrived(d);
    async_copy_wait<0>();
    __syncthreads();

    const Phase::Origin origin = p.origin(row0);
    each_run<Tile>(shared.rows, sum, [&](int r, int c, const float(&sums)[8]) {
      const int64_t row = row0 + r;
      const int column = column0 + c;
      if (row >= outputs || column >= g.outs()) return;
      if (partials) {
        float* to = partials + (blockIdx.y * outputs + row) * g.outs() + column;
        store(to, Vector<float, 4>{sums[0], sums[1], sums[2], sums[3]});
        store(to + 4, Vector<float, 4>{sums[4], sums[5], sums[6], sums[7]});
      } else {
        g.write(p.y.spread == 1 ? row : g.pixel(p, p.place(origin, r)), column, sums);
      }
    });
  }
}

// Slices of whole steps for so many tiles, if the results are one matrix.
Split slices_for(const ConvGather<bf16>& g, int64_t tiles) {
  const Phase& p = g.phases.phase[0];
  const int64_t steps = ChannelWalk::steps(g, p);
  if (g.phases.count > 1 || p.y.spread > 1 || g.k1 > 0) return {1, steps};
  const int64_t wanted = std::min<int64_t>(multiprocessors() / tiles, kSlicesMax);
  const int64_t slices =
      std::clamp<int64_t>(steps / kStepsOfSlice, 1, std::max<int64_t>(wanted, 1));
  const int64_t length = ceil_div(steps, slices);
  return {static_cast<int>(ceil_div(steps, length)), length};
}

template <class Tile>
void launch_tile(const ConvGather<bf16>& g, Stream stream) {
  const int64_t outputs = g.outputs(0);  // of the largest phase
  const int64_t tiles = ceil_div(outputs, Tile::kM) * ceil_div(g.outs(), Tile::kN);
  Split split = slices_for(g, tiles);
  for (int i = 1; i < g.phases.count; ++i)
    split.length = std::max(split.length, ChannelWalk::steps(g, g.phases.phase[i]));
  float* partials = nullptr;
  if (split.slices > 1)
    partials = static_cast<float*>(
        workspace(split.slices * outputs * g.outs() * static_cast<int64_t>(sizeof(float)), stream));
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(split.slices),
                  static_cast<unsigned>(g.phases.count));
  launch<conv2d_wgmma_kernel<Tile>>(grid, Tile::kThreads, sizeof(typename Tile::Shared), stream, g,
                                    split, partials);
  if (partials)
    sum_slices(partials, split.slices, outputs, g.outs(), g.bias, g.residual, g.y0, g.outs(),
               stream);
}

template <bool backward, bool enlarged>
void run(const ConvGather<bf16>& g, Stream stream) {
  require(has_wgmma(),
          "DIFFSCM_CONV=wgmma: this device's compute capability is not 9.0; choose mma");
  const auto columns = [&](int n) { return ceil_div(g.outs(), n); };
  // The wider one where it fits better and slices need not make up for its being fewer: their sums
  // would cost more than the columns that a tile of 128 leaves empty.
  const int64_t tiles =
      ceil_div(g.outputs(0), WgmmaTile<192, backward, enlarged>::kM) * columns(192);
  if (columns(192) * 192 < columns(128) * 128 && 2 * tiles >= multiprocessors())
    launch_tile<WgmmaTile<192, backward, enlarged>>(g, stream);
  else
    launch_tile<WgmmaTile<128, backward, enlarged>>(g, stream);
}

// Pixels of the source are counted in 32 bits, also those of a tile's rows behind the last.
bool countable(const ConvShape& s) {
  return s.n + 256 < (int64_t{1} << 31) / (s.in_h() * s.in_w());
}

}  // namespace

bool wgmma_pays(const ConvShape& s, int64_t pixels, int64_t channels, bool one_tensor) {
  const int64_t narrower = std::min(s.c(), s.k);
  if (narrower < 128 || !has_wgmma()) return false;
  const bool filled = ceil_div(pixels, 256) * ceil_div(channels, 128) >= multiprocessors();
  return filled || (one_tensor && narrower >= 192 && s.r == 3 && s.stride == 1);
}

bool conv2d_wgmma_supports(const BasicConv2dArgs<bf16>& a) {
  return conv2d_mma_supports(a) && countable(a.shape);
}
void conv2d_wgmma(const BasicConv2dArgs<bf16>& args, Stream stream) {
  args.shape.upsample ? run<false, true>(gather(args), stream)
                      : run<false, false>(gather(args), stream);
}

bool conv2d_backward_input_wgmma_supports(const BasicConv2dBackwardInputArgs<bf16>& a) {
  return conv2d_backward_input_mma_supports(a) && countable(a.shape);
}
void conv2d_backward_input_wgmma(const BasicConv2dBackwardInputArgs<bf16>& args, Stream stream) {
  run<true, false>(gather(args), stream);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
