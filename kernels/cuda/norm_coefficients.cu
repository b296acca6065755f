// Group norm as two numbers for each sample and channel, for a convolution that normalises what it
// reads: one reading of x, no writing of it.
//
// A block owns some whole groups of a sample and, as in group_norm.h, a thread a column of eight
// channels at every rows-th pixel. Sums and statistics are those of group_norm_sums.h.
#include <numeric>

#include "kernels/cuda/group_norm_sums.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kEight = kVector<bf16>;
constexpr int kFlight = 4;  // vectors that a thread reads before it uses any

__global__ void __launch_bounds__(kNormThreads, 4)
    norm_coefficients(NormCoefficientsArgs args, GroupNormPlan plan) {
  follow_previous_kernel();
  float* sums = &shared_memory<float>();  // then the channels' moments
  const Slab slab(plan);
  const int64_t n = slab.n;
  const int channels = slab.end - slab.first, hw = static_cast<int>(plan.hw);
  const Place place = Place::of<kEight>(plan.columns, slab.first, slab.end, hw);
  const Column<const bf16> x = column_of(args.x0, args.x1, plan, n, place.channel);

  ShiftedSums<kEight> own_sums;
  if (place.active) {
    own_sums.shift = load_numbers<kEight>(x.data);
    const bf16* from = x.data + place.row * x.stride;
    const int64_t step = place.rows * x.stride;
    int p = place.row;
    for (; p + (kFlight - 1) * place.rows < hw; p += kFlight * place.rows) {
      Vector<bf16, kEight> v[kFlight];
#pragma unroll
      for (int k = 0; k < kFlight; ++k, from += step) v[k] = load<kEight>(from);
#pragma unroll
      for (int k = 0; k < kFlight; ++k) own_sums.add(numbers_of(v[k]));
    }
    for (; p < hw; p += place.rows, from += step) own_sums.add(load_numbers<kEight>(from));
  }
  const SlabSums<kEight> slab_sums(static_cast<int>(plan.columns.value()), place.rows);
  slab_sums.store(sums, place, own_sums.sum, own_sums.squares);
  __syncthreads();
  slab_sums.add_parts(sums, channels);
  __syncthreads();

  const auto first_pixel = [&](int c) {
    return to_float(column_of(args.x0, args.x1, plan, n, slab.first + c).data[0]);
  };
  join_moments(slab_sums, sums, plan, channels, first_pixel,
               [&](int c, int group, float mean, float variance) {
                 const int channel = slab.first + c;
                 const float deviation = sqrtf(variance + args.eps);
                 if (c == group) {
                   const int64_t at = n * plan.groups + plan.per_group.quotient(channel);
                   if (args.mean != nullptr) args.mean[at] = mean;
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
                 out[plan.c] = b - mean * a;
               });
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
  plan.set_divisors(columns);
  return plan;
}

}  // namespace

void norm_coefficients_bf16(const NormCoefficientsArgs& args, Stream stream) {
  require(aligned16(args.x0) && aligned16(args.x1),
          "norm_coefficients_bf16: x0 and x1 must be aligned to 16 bytes");
  if (args.n == 0) return;
  const GroupNormPlan plan = plan_coefficients(args);
  const int floats = SlabSums<kEight>::of(plan).floats() + 2 * plan.slab_channels;
  const size_t bytes = static_cast<size_t>(floats) * sizeof(float);
  launch<norm_coefficients>(grid_of(args.n * plan.slabs), plan.threads, bytes, stream, args, plan);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
