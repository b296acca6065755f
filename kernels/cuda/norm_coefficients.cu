// Group norm as two numbers for each sample and channel, for a convolution that normalises what it
// reads: one reading of x, no writing of it.
//
// A block owns some whole groups of a sample and, as in group_norm.h, a thread a column of eight
// channels at every rows-th pixel. It adds up x - s and (x - s)^2, where s is the channel's first
// pixel: the variance is the mean square less the square of the mean, and cancels little when the
// shift is one of the values (Chan, Golub & LeVeque 1983): of N values none is further than sqrt(N)
// deviations from their mean, so that not more than N times the rounding of f32 is lost. Channels
// are then joined to groups, by the same paper's formula.
#include <numeric>

#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/group_norm.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kEight = kVector<bf16>;
constexpr int kFlight = 4;         // vectors that a thread reads before it uses any
constexpr int kSums = 2 * kEight;  // of a thread: eight of x - s, then eight of their squares

struct CoefficientsShared {
  alignas(16) float of_thread[kNormThreads][kSums + 4];  // + 4 spreads the rows over the banks
};

// A slab's channels: followed in shared memory by `parts` of their sums [part][column][kSums], and
// by their means and squared deviations.
struct Slab {
  int channels, columns, parts;
  __host__ __device__ Slab(int slab_channels, int threads)
      : channels(slab_channels),
        columns(slab_channels / kEight),
        parts(threads > 4 * slab_channels ? threads / (2 * slab_channels) : 1) {}
  __host__ __device__ int sums() const { return columns * kSums; }
  size_t bytes() const {
    return sizeof(CoefficientsShared) +
           sizeof(float) * static_cast<size_t>(parts * sums() + 2 * channels);
  }
};

__device__ inline void add(float (&sums)[kSums], const Vector<bf16, kEight>& x,
                           const Numbers<kEight>& shift) {
  const auto value = numbers_of(x);
#pragma unroll
  for (int j = 0; j < kEight; ++j) {
    const float d = value[j] - shift[j];
    sums[j] += d;
    sums[kEight + j] = fmaf(d, d, sums[kEight + j]);
  }
}

__global__ void __launch_bounds__(kNormThreads, 4)
    norm_coefficients(NormCoefficientsArgs args, GroupNormPlan plan) {
  follow_previous_kernel();
  auto& shared = shared_memory<CoefficientsShared>();
  const int t = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const Slab slab(plan.slab_channels, threads);
  float* part_sums = reinterpret_cast<float*>(&shared + 1);
  float* mean = part_sums + slab.parts * slab.sums();
  float* squared = mean + slab.channels;
  const int block = block_in_order(plan);
  const int64_t n = block / plan.slabs;
  const int first = block % plan.slabs * plan.slab_channels;
  const int end = std::min(first + plan.slab_channels, plan.c), hw = static_cast<int>(plan.hw);
  const Place place = Place::of<kEight>(slab.columns, first, end, hw);
  const Column<const bf16> x = column_of(args.x0, args.x1, plan, n, place.channel);

  float sums[kSums] = {};
  if (place.active) {
    const auto shift = load_numbers<kEight>(x.data);
    const bf16* from = x.data + place.row * x.stride;
    const int64_t step = place.rows * x.stride;
    int p = place.row;
    for (; p + (kFlight - 1) * place.rows < hw; p += kFlight * place.rows) {
      Vector<bf16, kEight> v[kFlight];
#pragma unroll
      for (int k = 0; k < kFlight; ++k, from += step) v[k] = load<kEight>(from);
#pragma unroll
      for (int k = 0; k < kFlight; ++k) add(sums, v[k], shift);
    }
    for (; p < hw; p += place.rows, from += step) add(sums, load<kEight>(from), shift);
  }
#pragma unroll
  for (int j = 0; j < kSums; j += 4)
    store_shared(&shared.of_thread[t][j],
                 Vector<float, 4>{sums[j], sums[j + 1], sums[j + 2], sums[j + 3]});
  __syncthreads();

  // Threads with the same column are `columns` apart. Sums of a part of them, then of all parts.
  for (int i = t; i < slab.parts * slab.sums(); i += threads) {
    const int part = i / slab.sums(), column = i % slab.sums() / kSums, j = i % kSums;
    float sum = 0;
    for (int row = part; row < place.rows; row += slab.parts)
      sum += shared.of_thread[row * slab.columns + column][j];
    part_sums[i] = sum;
  }
  __syncthreads();
  const float pixels = static_cast<float>(hw);
  for (int c = t; c < end - first; c += threads) {
    float sum = 0, square = 0;
    for (int part = 0; part < slab.parts; ++part) {
      const float* of = part_sums + part * slab.sums() + c / kEight * kSums + c % kEight;
      sum += of[0];
      square += of[kEight];
    }
    mean[c] = to_float(column_of(args.x0, args.x1, plan, n, first + c).data[0]) + sum / pixels;
    squared[c] = square - sum * (sum / pixels);
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
    const float deviation = sqrtf(squares / (pixels * static_cast<float>(d)) + args.eps);
    if (c == group) {
      const int64_t at = n * plan.groups + channel / d;
      if (args.mean != nullptr) args.mean[at] = all;
      if (args.rstd != nullptr) args.rstd[at] = 1.0f / deviation;
    }
    float a = args.gamma[channel] / deviation;
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

// A small sample is one slab; of a large one a slab has at least 64 bytes per pixel. Either is
// whole groups and whole vectors. A thread has eight vectors or more where there are so many.
GroupNormPlan plan_coefficients(const NormCoefficientsArgs& args) {
  constexpr int64_t kSmall = 2048, kEach = 8;  // vectors
  GroupNormPlan plan{};
  const int64_t c = args.c0 + args.c1, d = c / args.groups, unit = std::lcm<int64_t>(d, kEight);
  const int64_t all = ceil_div(c, unit), wanted = ceil_div(64, unit * int64_t{sizeof(bf16)});
  const bool small = args.hw * c <= kSmall * kEight && all * unit <= kSlabChannels;
  const int64_t units = small ? all : std::min(wanted, all);
  plan.backwards = goes_backwards(args.n * args.hw * c * int64_t{sizeof(bf16)});
  plan.hw = args.hw;
  plan.c0 = static_cast<int>(args.c0);
  plan.c = static_cast<int>(c);
  plan.groups = static_cast<int>(args.groups);
  plan.group_channels = static_cast<int>(d);
  plan.slab_channels = static_cast<int>(units * unit);
  plan.slabs = static_cast<int>(ceil_div(c, units * unit));
  const int64_t columns = plan.slab_channels / kEight;
  const int64_t threads = std::max({columns, columns * args.hw / kEach, int64_t{64}});
  plan.threads =
      static_cast<int>(std::min<int64_t>(kNormThreads, ceil_div(threads, kWarp) * kWarp));
  return plan;
}

}  // namespace

void norm_coefficients_bf16(const NormCoefficientsArgs& args, Stream stream) {
  require(aligned16(args.x0) && aligned16(args.x1),
          "norm_coefficients_bf16: x0 and x1 must be aligned to 16 bytes");
  if (args.n == 0) return;
  const GroupNormPlan plan = plan_coefficients(args);
  launch<norm_coefficients>(grid_of(args.n * plan.slabs), plan.threads,
                            Slab(plan.slab_channels, plan.threads).bytes(), stream, args, plan);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
