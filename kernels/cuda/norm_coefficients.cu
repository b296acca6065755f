// Group norm as two numbers for each sample and channel, for a convolution that normalises what it
// reads: one reading of x, no writing of it, and no reading where its moments are known.
//
// A block owns some whole groups of a sample and, as in group_norm.h, a thread a column of eight
// channels at every rows-th pixel. It adds up x - s and (x - s)^2, where s is the channel's first
// pixel: the variance is the mean square less the square of the mean, and cancels little when the
// shift is one of the values (Chan, Golub & LeVeque 1983): of N values none is further than sqrt(N)
// deviations from their mean, so that not more than N times the rounding of f32 is lost. Channels
// are then joined to groups, by the same paper's formula.
//
// Whoever normalises a tensor again, beside another one and in other groups, is given its moments
// and must find what it would have summed: in which order that is done follows from the image's
// size alone.
#include <numeric>

#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/group_norm.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kEight = kVector<bf16>;
constexpr int kMostThreads = 512;
constexpr int64_t kMostRows = 64;  // threads that share a column
constexpr int kEachPart = 16;      // rows that are added up one after the other
constexpr int kFlight = 4;         // vectors that a thread reads before it uses any
constexpr int kSums = 2 * kEight;  // of a thread: eight of x - s, then eight of their squares

struct Plan : GroupNormPlan {
  int rows, parts;  // by the image's size
  int at_once;      // columns that a block's threads read at a time
};

// In shared memory: each thread's sums, [part][column][kSums] of a pass, and the slab's moments.
struct ThreadSums {
  alignas(16) float at[kSums + 4];  // + 4 spreads the rows over the banks
};
__host__ __device__ inline int part_sums(const Plan& plan) {
  return plan.parts * plan.at_once * kSums;
}
size_t shared_bytes(const Plan& plan) {
  return sizeof(ThreadSums) * static_cast<size_t>(plan.rows * plan.at_once) +
         sizeof(float) * static_cast<size_t>(part_sums(plan) + 2 * plan.slab_channels);
}

__device__ inline void add(float (&sums)[kSums], const Vector<bf16, kEight>& x,
                           const Numbers<kEight>& shift) {
#pragma unroll
  for (int j = 0; j < kEight; ++j) {
    const float d = to_float(x[j]) - shift[j];
    sums[j] += d;
    sums[kEight + j] = fmaf(d, d, sums[kEight + j]);
  }
}

// The sums of every rows-th of hw pixels, from `row` on.
__device__ inline void sum_pixels(float (&sums)[kSums], const Column<const bf16>& x, int row,
                                  int rows, int hw) {
  const auto shift = load_numbers<kEight>(x.data);
  const bf16* from = x.data + row * x.stride;
  const int64_t step = rows * x.stride;
  int p = row;
  for (; p + (kFlight - 1) * rows < hw; p += kFlight * rows) {
    Vector<bf16, kEight> v[kFlight];
#pragma unroll
    for (int k = 0; k < kFlight; ++k, from += step) v[k] = load<kEight>(from);
#pragma unroll
    for (int k = 0; k < kFlight; ++k) add(sums, v[k], shift);
  }
  for (; p < hw; p += rows, from += step) add(sums, load<kEight>(from), shift);
}

// A channel's moments in those of its tensor, or null.
template <class T>
__device__ inline T* moments_at(T* m0, T* m1, const Plan& plan, int64_t n, int channel) {
  const bool second = channel >= plan.c0;
  T* m = second ? m1 : m0;
  const int64_t channels = second ? plan.c - plan.c0 : plan.c0;
  return m ? m + 2 * (n * channels + channel - (second ? plan.c0 : 0)) : nullptr;
}

__global__ void __launch_bounds__(kMostThreads, 2)
    norm_coefficients(NormCoefficientsArgs args, Plan plan) {
  follow_previous_kernel();
  auto* of_thread = &shared_memory<ThreadSums>();
  float* of_part = reinterpret_cast<float*>(of_thread + plan.rows * plan.at_once);
  float* mean = of_part + part_sums(plan);
  float* squared = mean + plan.slab_channels;
  const int t = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int block = block_in_order(plan);
  const int64_t n = block / plan.slabs;
  const int first = block % plan.slabs * plan.slab_channels;
  const int end = std::min(first + plan.slab_channels, plan.c), hw = static_cast<int>(plan.hw);
  const float pixels = static_cast<float>(hw);

  // Of the slab's channels [0, seam), those of x0, and of the rest, those that are to be read.
  const int seam = std::clamp(plan.c0 - first, 0, end - first);
  const int begin = args.moments0.given ? seam : 0;
  const int read_end = args.moments1.given ? seam : end - first;
  for (int c = t; c < end - first; c += threads) {
    if (c >= begin && c < read_end) continue;
    const float* known = moments_at(args.moments0.given, args.moments1.given, plan, n, first + c);
    mean[c] = known[0];
    squared[c] = known[1];
  }
  const int row = t / plan.at_once, column = t % plan.at_once;
  for (int begin0 = begin; begin0 < read_end; begin0 += plan.at_once * kEight) {
    const int mine = begin0 + column * kEight;
    if (row < plan.rows) {
      float sums[kSums] = {};
      if (mine < read_end)
        sum_pixels(sums, column_of(args.x0, args.x1, plan, n, first + mine), row, plan.rows, hw);
#pragma unroll
      for (int j = 0; j < kSums; j += 4)
        store_shared(&of_thread[t].at[j],
                     Vector<float, 4>{sums[j], sums[j + 1], sums[j + 2], sums[j + 3]});
    }
    __syncthreads();

    // A column's rows are at_once apart. Sums of a part of them, then of all parts.
    for (int i = t; i < part_sums(plan); i += threads) {
      const int part = i / kSums / plan.at_once, of_column = i / kSums % plan.at_once;
      float sum = 0;
      for (int from = part; from < plan.rows; from += plan.parts)
        sum += of_thread[from * plan.at_once + of_column].at[i % kSums];
      of_part[i] = sum;
    }
    __syncthreads();
    const int pass = std::min(plan.at_once * kEight, read_end - begin0);  // channels
    for (int i = t; i < pass; i += threads) {
      const int c = begin0 + i;
      float sum = 0, square = 0;
      for (int part = 0; part < plan.parts; ++part) {
        const float* of = of_part + (part * plan.at_once + i / kEight) * kSums + i % kEight;
        sum += of[0];
        square += of[kEight];
      }
      mean[c] = to_float(column_of(args.x0, args.x1, plan, n, first + c).data[0]) + sum / pixels;
      squared[c] = square - sum * (sum / pixels);
      float* out = moments_at(args.moments0.written, args.moments1.written, plan, n, first + c);
      if (out == nullptr) continue;
      out[0] = mean[c];
      out[1] = squared[c];
    }
  }
  __syncthreads();

  const int d = plan.group_channels;
  for (int c = t; c < end - first; c += threads) {
    const int group = c / d * d, channel = first + c;
    float all = 0, squares = 0;
    for (int i = 0; i < d; ++i) all += mean[group + i];
    all /= static_cast<float>(d);
    for (int i = 0; i < d; ++i) {
      const float apart = mean[group + i] - all;
      squares += squared[group + i] + pixels * apart * apart;
    }
    float a = args.gamma[channel] / sqrtf(squares / (pixels * static_cast<float>(d)) + args.eps);
    float b = args.beta[channel];
    if (args.scale_shift != nullptr) {
      const float* scale = args.scale_shift + n * 2 * plan.c + channel;
      a *= 1.0f + scale[0];
      b = b * (1.0f + scale[0]) + scale[plan.c];
    }
    float* out = args.coefficients + n * 2 * plan.c + channel;
    out[0] = a;
    out[plan.c] = b - all * a;
  }
}

// A small sample is one slab, and so is one that is not read; of a large one a slab has at least 64
// bytes per pixel. Either is whole groups and whole vectors. A thread has eight vectors or more
// where there are so many.
Plan plan_coefficients(const NormCoefficientsArgs& args) {
  constexpr int64_t kSmall = 2048, kEach = 7;  // vectors
  Plan plan{};
  const int64_t c = args.c0 + args.c1, d = c / args.groups, unit = std::lcm<int64_t>(d, kEight);
  const int64_t all = ceil_div(c, unit), wanted = ceil_div(64, unit * int64_t{sizeof(bf16)});
  const bool reads = !args.moments0.given || (args.c1 > 0 && !args.moments1.given);
  const bool small = args.hw * c <= kSmall * kEight || !reads;
  const int64_t units = std::min(all, small && all * unit <= kSlabChannels ? all : wanted);
  plan.backwards = goes_backwards(args.n * args.hw * c * int64_t{sizeof(bf16)});
  plan.hw = args.hw;
  plan.c0 = static_cast<int>(args.c0);
  plan.c = static_cast<int>(c);
  plan.groups = static_cast<int>(args.groups);
  plan.group_channels = static_cast<int>(d);
  plan.slab_channels = static_cast<int>(units * unit);
  plan.slabs = static_cast<int>(ceil_div(c, units * unit));
  plan.rows = static_cast<int>(std::min(kMostRows, ceil_div(args.hw, kEach)));
  plan.parts = std::max(plan.rows / kEachPart, 1);
  const int64_t read =
      plan.slabs > 1 ? plan.slab_channels
                     : (args.moments0.given ? 0 : args.c0) + (args.moments1.given ? 0 : args.c1);
  plan.at_once = static_cast<int>(std::clamp<int64_t>(read / kEight, 1, kMostThreads / plan.rows));
  const int64_t threads =
      std::max(plan.rows * plan.at_once, std::clamp(plan.slab_channels, 64, kMostThreads));
  plan.threads = static_cast<int>(ceil_div(threads, kWarp) * kWarp);
  return plan;
}

}  // namespace

void norm_coefficients_bf16(const NormCoefficientsArgs& args, Stream stream) {
  require(aligned16(args.x0) && aligned16(args.x1),
          "norm_coefficients_bf16: x0 and x1 must be aligned to 16 bytes");
  if (args.n == 0) return;
  const Plan plan = plan_coefficients(args);
  launch<norm_coefficients>(grid_of(args.n * plan.slabs), plan.threads, shared_bytes(plan), stream,
                            args, plan);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
