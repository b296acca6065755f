// Group norm as two numbers for each sample and channel, for a convolution that normalises what it
// reads: one reading of x, no writing of it.
//
// A block owns some whole groups of a sample and, as in group_norm.h, a thread a column of eight
// channels. It adds up x - s and (x - s)^2, where s is the channel's first pixel: the variance is
// the mean square less the square of the mean, and cancels little when the shift is one of the
// values (Chan, Golub & LeVeque 1983): of N values none is further than sqrt(N) deviations from
// their mean, so that not more than N times the rounding of f32 is lost. Channels are then joined
// to groups, by the same paper's formula.
#include <numeric>

#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/group_norm.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kEight = kVector<bf16>;
constexpr int kFlight = 4;  // vectors that a thread reads before it uses any

// Followed in shared memory by mean and squared deviations of each channel of the slab.
struct CoefficientsShared {
  float sums[kNormThreads * kEight], squares[kNormThreads * kEight];  // [channel][rows]
};

__global__ void __launch_bounds__(kNormThreads, 4)
    group_coefficients(NormCoefficientsArgs args, GroupNormPlan plan) {
  auto& shared = shared_memory<CoefficientsShared>();
  float* mean = reinterpret_cast<float*>(&shared + 1);
  float* squared = mean + plan.slab_channels;
  const int64_t n = blockIdx.x / plan.slabs;
  const int first = static_cast<int>(blockIdx.x) % plan.slabs * plan.slab_channels;
  const int end = std::min(first + plan.slab_channels, plan.c), hw = static_cast<int>(plan.hw);
  const Place place = Place::of<kEight>(plan.slab_channels / kEight, first, end, hw);
  const Column<const bf16> x = column_of(args.x0, args.x1, plan, n, place.channel);

  Numbers<kEight> shift, sum, square;
  if (place.active) shift = load_numbers<kEight>(x.data);
  for (int p = place.row; p < hw; p += kFlight * place.rows) {
    Vector<bf16, kEight> v[kFlight];
#pragma unroll
    for (int k = 0; k < kFlight; ++k)
      if (p + k * place.rows < hw) v[k] = load<kEight>(x.data + (p + k * place.rows) * x.stride);
#pragma unroll
    for (int k = 0; k < kFlight; ++k) {
      if (p + k * place.rows >= hw) break;
#pragma unroll
      for (int j = 0; j < kEight; ++j) {
        const float d = to_float(v[k][j]) - shift[j];
        sum[j] += d;
        square[j] = fmaf(d, d, square[j]);
      }
    }
  }
  store_partial(shared.sums, place, sum.v);
  store_partial(shared.squares, place, square.v);
  __syncthreads();
  const float pixels = static_cast<float>(hw);
  sum_runs(shared.sums, end - first, place.rows, [&](int c, float total) {
    const Column<const bf16> channel = column_of(args.x0, args.x1, plan, n, first + c);
    mean[c] = to_float(channel.data[0]) + total / pixels;
    squared[c] = -total * (total / pixels);
  });
  __syncthreads();
  sum_runs(shared.squares, end - first, place.rows,
           [&](int c, float total) { squared[c] += total; });
  __syncthreads();

  const int d = plan.group_channels;
  for (int c = static_cast<int>(threadIdx.x); c < end - first; c += static_cast<int>(blockDim.x)) {
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

// Slabs of whole groups and vectors, of at least 64 bytes per pixel where there are so many.
GroupNormPlan plan_coefficients(const NormCoefficientsArgs& args) {
  GroupNormPlan plan{};
  const int64_t c = args.c0 + args.c1, d = c / args.groups, unit = std::lcm<int64_t>(d, kEight);
  const int64_t units = std::min(ceil_div(64, unit * int64_t{sizeof(bf16)}), ceil_div(c, unit));
  plan.hw = args.hw;
  plan.c0 = static_cast<int>(args.c0);
  plan.c = static_cast<int>(c);
  plan.groups = static_cast<int>(args.groups);
  plan.group_channels = static_cast<int>(d);
  plan.slab_channels = static_cast<int>(units * unit);
  plan.slabs = static_cast<int>(ceil_div(c, units * unit));
  plan.threads = static_cast<int>(std::min<int64_t>(
      kNormThreads, ceil_div(plan.slab_channels / kEight * args.hw, kWarp) * kWarp));
  return plan;
}

}  // namespace

void norm_coefficients_bf16(const NormCoefficientsArgs& args, Stream stream) {
  require(aligned16(args.x0) && aligned16(args.x1),
          "norm_coefficients_bf16: x0 and x1 must be aligned to 16 bytes");
  if (args.n == 0) return;
  const GroupNormPlan plan = plan_coefficients(args);
  const size_t bytes =
      sizeof(CoefficientsShared) + 2 * sizeof(float) * static_cast<size_t>(plan.slab_channels);
  launch<group_coefficients>(grid_of(args.n * plan.slabs), plan.threads, bytes, stream, args, plan);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
