// Group normalisation, backward, of samples that are cut into slabs (group_norm.h): one kernel.
//
// x and dy of some whole groups arrive in shared memory. dz costs two special functions and a dozen
// other instructions for each element, and is wanted twice, for the sums and for dx: a thread keeps
// that of its first kKept vectors in registers, in f32, and makes the others' again. What depends
// on the channel alone is made once for all threads, which read it 16 bytes at a time.
#pragma once

#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/group_norm_backward.h"
#include "kernels/cuda/group_norm_sums.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// The slabs of x and of dy, [pixels][columns] vectors each, follow in shared memory, then the sums.
struct alignas(16) NormBackwardShared {
  float mean[kSlabChannels], a[kSlabChannels], bias[kSlabChannels], rstd[kSlabChannels];
  float weighted1[kSlabChannels], weighted2[kSlabChannels];  // w s1, w s2
  float p[kSlabChannels], q[kSlabChannels];
};

// Vectors whose dz a thread keeps: as many as fit 128 registers, beside what else is there.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
inline constexpr int kKeptOfDropout = 4;
#else
inline constexpr int kKeptOfDropout = 5;
#endif
template <int V, bool kSilu, bool kDrop, class Side>
constexpr int kKeptVectors = V < 8                                     ? 8
                             : kDrop                                   ? kKeptOfDropout
                             : std::is_same_v<Side, Windows> || !kSilu ? 6
                                                                       : 7;

// totals [N][2][C]: dbeta and dgamma of each sample; null where nobody wants them.
template <class T, int V, bool kSilu, bool kDrop, class Side>
__global__ void __launch_bounds__(kNormThreads, 2)
    group_norm_backward_slab(BasicGroupNormBackwardArgs<T> args, GroupNormPlan plan,
                             DropoutScale drop, [[maybe_unused]] Side side, float* totals) {
  follow_previous_kernel();
  constexpr int kKept = kKeptVectors<V, kSilu, kDrop, Side>;
  auto& shared = shared_memory<NormBackwardShared>();
  const int columns = static_cast<int>(plan.columns.value()), hw = static_cast<int>(plan.hw);
  const int t = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  auto* slab_x = reinterpret_cast<T*>(&shared + 1);
  T* slab_dy = slab_x + hw * columns * V;
  auto* sums = reinterpret_cast<float*>(slab_dy + hw * columns * V);
  const Slab slab(plan);
  const int64_t n = slab.n;
  const int first = slab.first, end = slab.end;
  const Place place = Place::of<V>(plan.columns, first, end, hw);
  const Column<const T> x = column_of(args.forward.x0, args.forward.x1, plan, n, place.channel);
  int gradients = hw;  // of a sample's result: pixels or windows
  if constexpr (kPooled<Side>) gradients = side.count;
  const T* dy = args.dy + n * gradients * plan.c + place.channel;

  const auto copy = [&](T* slab, const T* from, int64_t stride, int rows) {
    for (int p = place.row; p < rows; p += place.rows) {
      T* to = slab + (p * columns + place.column) * V;
      if constexpr (sizeof(T) * V == 16) {
        async_copy_16(to, from + p * stride, true);
      } else {
        store_shared(to, load<V>(from + p * stride));
      }
    }
  };
  copy(slab_x, x.data, x.stride, hw);
  copy(slab_dy, dy, plan.c, gradients);
  async_copy_commit();
  const int d = plan.group_channels;
  for (int c = t; c < end - first; c += threads) {
    const int64_t group = n * plan.groups + plan.per_group.quotient(first + c);
    const ChannelWeights w(args.forward, plan, n, first + c);
    shared.mean[c] = args.forward.mean[group];
    shared.rstd[c] = args.forward.rstd[group];
    shared.a[c] = shared.rstd[c] * w.weight;
    shared.bias[c] = w.bias;
  }
  if constexpr (kPooled<Side>) async_copy_wait<0>();  // what others have copied is read, too
  __syncthreads();
  NormGradient<T, V, kSilu, kDrop> gradient(args.forward, n, drop);
  const int own = place.active ? place.column * V : 0;
  gradient.mean = load_numbers<V>(shared.mean + own);
  gradient.a = load_numbers<V>(shared.a + own);
  gradient.bias = load_numbers<V>(shared.bias + own);
  async_copy_wait<0>();

  const int first_at = (place.row * columns + place.column) * V, step = place.rows * columns * V;
  const auto deviations = [&](int at) { return gradient.deviations(load<V>(slab_x + at)); };
  // A pixel's share of what flows back to its window.
  const auto quarter = [](Numbers<V> whole) {
#pragma unroll
    for (int j = 0; j < V; ++j) whole[j] *= 0.25f;
    return whole;
  };
  const auto dz_of = [&](const Numbers<V>& deviation, int p, int at) {
    Numbers<V> dy_p;
    if constexpr (kPooled<Side>) {
      const int window = side.of(p);
      if (window >= 0)
        dy_p = quarter(load_numbers<V>(slab_dy + (window * columns + place.column) * V));
    } else {
      dy_p = load_numbers<V>(slab_dy + at);
    }
    return gradient(deviation, dy_p, static_cast<int64_t>(p) * plan.c + place.channel);
  };
  Numbers<V> kept[kKept];
  NormSums<V> own_sums;
  int p = place.row, at = first_at;
#pragma unroll
  for (int k = 0; k < kKept; ++k, p += place.rows, at += step) {
    if (p >= hw) break;
    const auto deviation = deviations(at);
    kept[k] = dz_of(deviation, p, at);
    own_sums.add(deviation, kept[k]);
  }
#pragma unroll 1
  for (; p < hw; p += place.rows, at += step) {
    const auto deviation = deviations(at);
    own_sums.add(deviation, dz_of(deviation, p, at));
  }

  const SlabSums<V> slab_sums(columns, place.rows);
  slab_sums.store(sums, place, own_sums.dz, own_sums.dz_d);
  __syncthreads();
  slab_sums.add_parts(sums, end - first);
  __syncthreads();
  for (int c = t; c < end - first; c += threads) {
    const auto sum = slab_sums.of(sums, c);
    const float s1 = sum[0], s2 = shared.rstd[c] * sum[1];
    const float w = finish_channel(args, plan, n, first + c, s1, s2, totals);
    shared.weighted1[c] = w * s1;
    shared.weighted2[c] = w * s2;
  }
  if (args.dx0 == nullptr && args.dx1 == nullptr) return;
  __syncthreads();
  const float count = static_cast<float>(hw) * static_cast<float>(d);
  for (int c = t; c < end - first; c += threads) {
    float m1 = 0, m2 = 0;
    const int group = static_cast<int>(plan.per_group.quotient(c)) * d;
    for (int i = group; i < group + d; ++i) {
      m1 += shared.weighted1[i];
      m2 += shared.weighted2[i];
    }
    const float rstd = shared.rstd[c];
    shared.p[c] = rstd * (m1 / count);
    shared.q[c] = rstd * rstd * (m2 / count);
  }
  __syncthreads();

  const Column<T> dx = column_of(args.dx0, args.dx1, plan, n, place.channel);
  Addend<T, V> add{column_of(args.add0, args.add1, plan, n, place.channel).data};
  if constexpr (kPooled<Side>)
    if (add.data) add.data = args.add0 + n * gradients * plan.c + place.channel;
  if (!place.active || dx.data == nullptr) return;
  const auto mean_p = load_numbers<V>(shared.p + own), mean_q = load_numbers<V>(shared.q + own);
  const auto write = [&](const Numbers<V>& deviation, const Numbers<V>& dz) {
    Numbers<V> more;
    if constexpr (kPooled<Side>) {
      const int window = add.data ? side.of(p) : -1;
      if (window >= 0) more = quarter(add.at(int64_t{window} * plan.c));
    } else {
      more = add.at(p * dx.stride);
    }
    store(dx.data + p * dx.stride, gradient.of_input(deviation, dz, mean_p, mean_q, more));
  };
  p = place.row;
  at = first_at;
#pragma unroll
  for (int k = 0; k < kKept; ++k, p += place.rows, at += step) {
    if (p >= hw) break;
    write(deviations(at), kept[k]);
  }
#pragma unroll 1
  for (; p < hw; p += place.rows, at += step) {
    const auto deviation = deviations(at);
    write(deviation, dz_of(deviation, p, at));
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
