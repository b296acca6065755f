// What the forward and the backward group norm share: how a sample is cut into blocks and threads,
// sums over a block, dropout and SiLU.
//
// In NHWC a group's values are scattered: C/G neighbouring channels at every pixel. So a thread
// never walks a group. It owns a *column*, one 16-byte vector of V channels, at every `rows`-th
// pixel:
//
//                 channels ->
//     pixel 0     | t0 | t1 | t2 | t3 |      4 columns (V channels each), rows = threads / 4
//     pixel 1     | t4 | t5 | t6 | t7 |      threads of a warp read neighbouring bytes, and what
//       ...       |    |    |    |    |      depends on the channel alone (weights, statistics)
//     pixel rows  | t0 | t1 | t2 | t3 |      stays in the thread's registers
//
// and the few sums of each channel are combined into groups at the end (sum_runs). Groups of one
// channel, groups that end inside a vector and groups that straddle the seam of the concatenation
// need no special case.
//
// A sample is cut in one of two ways, by its shape alone, so that its bits do not depend on the
// batch:
//   slabs    a block owns some whole groups at all pixels and keeps them in shared memory: the
//            image is read from DRAM once. Runs of at least 64 bytes per pixel where they fit.
//   chunks   the image is too large for that: a block owns some pixels of (up to 256 columns of)
//            all channels, and leaves partial sums of each channel to a second kernel.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>
#include <utility>

#include "kernels/cuda/device/approximate.h"
#include "kernels/cuda/device/cuda.h"
#include "kernels/cuda/device/divisor.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

inline constexpr int kNormThreads = 256;
inline constexpr int kSlabChannels = 256;  // at most; bounds the arrays in shared memory
inline constexpr int kChunkBatches = 4, kChunkBatch = 8;  // pixels per thread of a chunk: 4 x 8

struct GroupNormPlan {
  int64_t hw;
  int c0, c, groups, group_channels;
  int slab_channels, slabs;  // slabs = 0: the sample is cut into chunks
  int tile_columns, tiles;   // chunks: columns of a block, blocks side by side
  int chunk_pixels, chunks;  // chunks: pixels of a block, blocks of a sample
  int threads;
  bool backwards;  // slabs: from the last sample to the first
  // Slabs, to divide by: columns of a block, slabs of a sample, channels of a group.
  Divisor columns{1}, per_sample{1}, per_group{1};

  void set_divisors(int64_t block_columns) {
    columns = Divisor(block_columns);
    per_sample = Divisor(slabs);
    per_group = Divisor(group_channels);
  }
};

// For a batch of so many bytes. Convolutions go from the first sample to the last; group norm,
// going back, begins with what they wrote last, and leaves behind what the next begins with. Of a
// batch that the L2 holds nearly whole an H100 reads more from there in the order of writing.
inline bool goes_backwards(int64_t bytes) {
  return bytes > int64_t{32} << 20;
}

// `arrays` of the sample's size are kept in shared memory: x in the forward, x and dy in the
// backward.
inline GroupNormPlan plan_group_norm(int64_t hw, int64_t c0, int64_t c1, int64_t groups, int vector,
                                     int64_t element_bytes, int arrays) {
  GroupNormPlan plan{};
  const int64_t c = c0 + c1, d = c / groups;
  plan.hw = hw;
  plan.c0 = static_cast<int>(c0);
  plan.c = static_cast<int>(c);
  plan.groups = static_cast<int>(groups);
  plan.group_channels = static_cast<int>(d);

  // The smallest slab is whole groups and whole vectors. Several blocks should fit a
  // multiprocessor, so that one loads while another computes: 32 KiB; but a run of less than 64
  // bytes per pixel wastes DRAM bursts, which is worth a larger slab.
  const int64_t unit = std::lcm<int64_t>(d, vector), pixel_bytes = unit * element_bytes;
  const int64_t unit_bytes = arrays * hw * pixel_bytes;
  const int64_t most = std::min(kSlabChannels / unit, ceil_div(c, unit));
  const auto fits = [&](int64_t units, int64_t kib) {
    return units >= 1 && units <= most && units * unit_bytes <= kib * 1024;
  };
  int64_t units = std::min(most, 32 * 1024 / unit_bytes);
  for (const auto& [run, kib] : {std::pair{64, 64}, std::pair{32, 96}}) {
    const int64_t wanted = std::min(most, ceil_div(run, pixel_bytes));
    if (units < wanted && fits(wanted, kib)) units = wanted;
  }
  if (units < 1 && fits(1, 96)) units = 1;
  if (units >= 1) {
    plan.slabs = static_cast<int>(ceil_div(ceil_div(c, unit), units));
    plan.slab_channels = static_cast<int>(ceil_div(ceil_div(c, unit), plan.slabs) * unit);
    // What a thread does once, before its pixels and for the sums, costs as much as several
    // vectors.
    constexpr int64_t kEach = 8, kFewest = 64;
    const int64_t columns = plan.slab_channels / vector;
    const int64_t threads = std::max({ceil_div(columns * hw, kEach), columns, kFewest});
    plan.threads =
        static_cast<int>(std::min<int64_t>(ceil_div(threads, kWarp) * kWarp, kNormThreads));
    plan.set_divisors(columns);
    return plan;
  }
  plan.threads = kNormThreads;
  const int64_t columns = c / vector;
  plan.tiles = static_cast<int>(ceil_div(columns, kNormThreads));
  plan.tile_columns = static_cast<int>(ceil_div(columns, plan.tiles));
  plan.chunk_pixels = kNormThreads / plan.tile_columns * kChunkBatches * kChunkBatch;
  plan.chunks = static_cast<int>(ceil_div(hw, plan.chunk_pixels));
  return plan;
}

// What a slab's kernels read or write on the side of the result: all pixels,
struct Pixels {};
// or the means of 2x2 windows (PooledNormArgs in kernels/group_norm.h). An odd last row or column
// is in no window.
struct Windows {
  Divisor line, pixel_line;  // windows, pixels
  int w, across, count;

  Windows(int64_t h, int64_t w_)
      : line(w_ / 2),
        pixel_line(w_),
        w(static_cast<int>(w_)),
        across(static_cast<int>(w_ / 2)),
        count(static_cast<int>(h / 2) * across) {}

  // The window's first pixel; the others are 1, w and w + 1 further.
  __device__ int pixel(int window) const {
    const uint32_t p = line.quotient(static_cast<uint32_t>(window));
    const uint32_t q = line.remainder(static_cast<uint32_t>(window), p);
    return 2 * static_cast<int>(p) * w + 2 * static_cast<int>(q);
  }
  // The window that the pixel is in, or -1.
  __device__ int of(int pixel) const {
    const uint32_t y = pixel_line.quotient(static_cast<uint32_t>(pixel));
    const uint32_t x = pixel_line.remainder(static_cast<uint32_t>(pixel), y);
    const int q = static_cast<int>(x / 2), window = static_cast<int>(y / 2) * across + q;
    return q < across && window < count ? window : -1;
  }
};
template <class Side>
inline constexpr bool kPooled = !std::is_empty_v<Side>;

// A sample's blocks follow one another in grid.x.
inline dim3 grid_of(int64_t blocks, int64_t tiles = 1) {
  require(blocks < int64_t{1} << 31 && tiles < 65536,
          "group_norm: {} x {} blocks are more than a launch can have; use a smaller batch", blocks,
          tiles);
  return dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(tiles));
}

// Dropout as the kernels want it: keep when draw >= threshold, then multiply by scale.
struct DropoutScale {
  uint32_t threshold;
  float scale;
};
inline DropoutScale dropout_scale(const Dropout& dropout) {
  return {static_cast<uint32_t>(std::ceil(static_cast<double>(dropout.rate) * 65536.0)),
          static_cast<float>(1.0 / (1.0 - static_cast<double>(dropout.rate)))};
}

// The 16-bit draws of elements e .. e + V - 1 of a sample (e a multiple of V): V = 8 is one Philox
// block, V = 4 half of one.
template <int V>
__device__ inline void dropout_draws(const RandomKey& key, uint64_t sample, int64_t e,
                                     uint32_t (&draw)[V]) {
  const Philox block = philox(key, sample, static_cast<uint32_t>(e >> 3));
  if constexpr (V == 8) {
    for (int j = 0; j < 8; ++j) draw[j] = block.word[j / 2] >> (j % 2 * 16) & 0xffffu;
  } else if constexpr (V == 4) {
    const uint32_t low = e & 4 ? block.word[2] : block.word[0];
    const uint32_t high = e & 4 ? block.word[3] : block.word[1];
    draw[0] = low & 0xffffu;
    draw[1] = low >> 16;
    draw[2] = high & 0xffffu;
    draw[3] = high >> 16;
  } else {
    static_assert(V == 1);
    const uint32_t low = e & 2 ? block.word[1] : block.word[0];
    const uint32_t high = e & 2 ? block.word[3] : block.word[2];
    draw[0] = (e & 4 ? high : low) >> (e % 2 * 16) & 0xffffu;
  }
}

// Where a thread stands: V channels from `channel` on, at pixels row, row + rows, ... of its block.
// A thread without a column has no pixels.
struct Place {
  int column, row, rows, channel;
  bool active;

  // The block has `columns` columns (a number or a Divisor), of which those with channels below
  // `end` exist.
  template <int V, class Columns>
  __device__ static Place of(const Columns& columns, int first, int end, int64_t pixels) {
    Place p;
    if constexpr (std::is_same_v<Columns, Divisor>) {
      const uint32_t row = columns.quotient(threadIdx.x);
      p.rows = static_cast<int>(columns.quotient(blockDim.x));
      p.row = static_cast<int>(row);
      p.column = static_cast<int>(columns.remainder(threadIdx.x, row));
    } else {
      p.rows = static_cast<int>(blockDim.x) / columns;
      p.row = static_cast<int>(threadIdx.x) / columns;
      p.column = static_cast<int>(threadIdx.x) - p.row * columns;
    }
    p.channel = first + p.column * V;
    p.active = p.row < p.rows && p.channel < end;
    if (!p.active) p.row = static_cast<int>(pixels);
    return p;
  }
};

// What a block owns of slabs: channels [first, end) of sample n.
struct Slab {
  int n, first, end;

  __device__ explicit Slab(const GroupNormPlan& plan) {
    const uint32_t block = plan.backwards ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
    const uint32_t sample = plan.per_sample.quotient(block);
    n = static_cast<int>(sample);
    first = static_cast<int>(plan.per_sample.remainder(block, sample)) * plan.slab_channels;
    end = std::min(first + plan.slab_channels, plan.c);
  }
};

// What a block of the chunked way owns: pixels [begin, begin + pixels) of channels [first, end).
struct Tile {
  int64_t n, chunk, begin;
  int pixels, first, end;

  template <int V>
  __device__ static Tile of(const GroupNormPlan& plan) {
    Tile t;
    t.n = blockIdx.x / plan.chunks;
    t.chunk = blockIdx.x % plan.chunks;
    t.begin = t.chunk * plan.chunk_pixels;
    t.pixels = static_cast<int>(std::min(plan.hw - t.begin, int64_t{plan.chunk_pixels}));
    t.first = static_cast<int>(blockIdx.y) * plan.tile_columns * V;
    t.end = std::min(t.first + plan.tile_columns * V, plan.c);
    return t;
  }
};

// One half of the concatenated channels, of x or of dx: element (pixel, channel) of sample n is
// data[pixel * stride], with the thread's channel already added. data may be null (dx).
template <class T>
struct Column {
  T* data;
  int64_t stride;
};
template <class T>
__device__ inline Column<T> column_of(T* x0, T* x1, const GroupNormPlan& plan, int64_t n,
                                      int channel) {
  const bool second = channel >= plan.c0;
  T* x = second ? x1 : x0;
  const int64_t stride = second ? plan.c - plan.c0 : plan.c0;
  if (x != nullptr) x += n * plan.hw * stride + channel - (second ? plan.c0 : 0);
  return {x, stride};
}

// z = xhat weight + bias: a channel's gamma and beta together with the sample's scale and shift.
struct ChannelWeights {
  float weight, bias;

  template <class T>
  __device__ ChannelWeights(const BasicGroupNormArgs<T>& args, const GroupNormPlan& plan, int64_t n,
                            int c)
      : weight(args.gamma[c]), bias(args.beta[c]) {
    if (args.scale_shift == nullptr) return;
    const float* scale = args.scale_shift + n * 2 * plan.c + c;
    weight *= 1.0f + scale[0];
    bias = bias * (1.0f + scale[0]) + scale[plan.c];
  }
};

// Those of a thread's channels.
template <int V>
struct Weights {
  float weight[V], bias[V];

  template <class T>
  __device__ void read(const BasicGroupNormArgs<T>& args, const GroupNormPlan& plan, int64_t n,
                       const Place& place) {
    for (int j = 0; j < V; ++j) {
      const ChannelWeights one(args, plan, n, place.active ? place.channel + j : 0);
      weight[j] = one.weight;
      bias[j] = one.bias;
    }
  }
};

// each(j, g) for the V channels from `channel` on, which lie in group g; groups have d channels.
template <int V, class Each>
__device__ inline void each_group(int channel, int d, Each&& each) {
  int g = channel / d, next = (g + 1) * d;
#pragma unroll
  for (int j = 0; j < V; ++j) {
    if (channel + j == next) ++g, next += d;
    each(j, g);
  }
}

// Each active thread's V numbers, laid down so that one channel's are neighbours: [channel][rows].
// A group's are then one run too.
template <int V>
__device__ inline void store_partial(float* partial, const Place& place, const float (&value)[V]) {
  if (!place.active) return;
  for (int j = 0; j < V; ++j) partial[(place.column * V + j) * place.rows + place.row] = value[j];
}

// each(run, sum) for `count` runs of `length` numbers lying one after the other, by as many lanes
// per run as there are threads for. Every thread must call; the order of the additions depends on
// the arguments and the block's size alone.
template <class Each>
__device__ inline void sum_runs(const float* values, int count, int length, Each&& each) {
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  int lanes = kWarp;
  while (lanes > 1 && lanes * count > threads) lanes /= 2;
  for (int first = 0; first < count; first += threads / lanes) {
    const int run = first + thread / lanes;
    float sum = 0;
    if (run < count)
      for (int i = thread % lanes; i < length; i += lanes) sum += values[run * length + i];
    for (int offset = lanes / 2; offset > 0; offset /= 2)
      sum += __shfl_xor_sync(kFullMask, sum, offset);
    if (run < count && thread % lanes == 0) each(run, sum);
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
