// Group normalisation, forward, of samples that are cut into slabs (group_norm.h): one kernel.
//
// A block starts all its loads at once (cp.async straight into shared memory: no registers, no
// waiting), then makes two passes over what has arrived: sums for the statistics, output. A thread
// touches only what it has copied itself, so the only barriers are those of the sums. Several
// blocks share a multiprocessor; while one computes, others load or store.
#pragma once

#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/group_norm_sums.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// What follows the statistics, for V channels of one pixel: silu(a (x - mean) + b) or, of bf16,
// which has fewer digits than a large mean would cost here, silu(a x + b).
template <class T, int V, bool kSilu>
struct Normaliser {
  static constexpr bool kCentred = sizeof(T) == sizeof(float);
  Numbers<V> mean, a, b;  // a, b: of SiLU, times kSiluScale

  // A channel's a and b, of its group's statistics and its weights.
  __device__ static Numbers<2> of(float mean, float rstd, float weight, float bias) {
    constexpr float kScale = kSilu ? kSiluScale : 1.0f;
    const float a = rstd * weight;
    Numbers<2> ab;
    ab[0] = kScale * a;
    ab[1] = kScale * (kCentred ? bias : fmaf(-mean, a, bias));
    return ab;
  }
  __device__ Numbers<V> operator()(Numbers<V> x) const {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      if constexpr (kCentred) x[j] -= mean[j];
      const float t = fmaf(a[j], x[j], b[j]);
      x[j] = kSilu ? silu_of_scaled(t) : t;
    }
    return x;
  }
};

// Dropout of elements e .. e + V - 1 of a sample.
template <int V>
__device__ inline void drop_out(Numbers<V>& y, const DropoutScale& drop, const RandomKey& key,
                                uint64_t sample, int64_t e) {
  uint32_t draw[V];
  dropout_draws<V>(key, sample, e, draw);
#pragma unroll
  for (int j = 0; j < V; ++j) y[j] = draw[j] < drop.threshold ? 0.0f : y[j] * drop.scale;
}

// Sums, the channels' moments and the slab itself, [pixels][columns] vectors, follow in shared
// memory.
struct alignas(16) NormShared {
  float a[kSlabChannels], b[kSlabChannels], mean[kSlabChannels];
};

// pooled_x: where there are windows.
template <class T, int V, bool kSilu, bool kDrop, class Side>
__global__ void __launch_bounds__(kNormThreads, 4)
    group_norm_slab(BasicGroupNormArgs<T> args, GroupNormPlan plan, DropoutScale drop,
                    [[maybe_unused]] Side side, [[maybe_unused]] T* pooled_x) {
  follow_previous_kernel();
  auto& shared = shared_memory<NormShared>();
  const int columns = static_cast<int>(plan.columns.value()), hw = static_cast<int>(plan.hw);
  const Slab slab(plan);
  const int64_t n = slab.n;
  const int channels = slab.end - slab.first;
  const Place place = Place::of<V>(plan.columns, slab.first, slab.end, hw);
  const Column<const T> x = column_of(args.x0, args.x1, plan, n, place.channel);
  const SlabSums<V> slab_sums(columns, place.rows);
  auto* sums = reinterpret_cast<float*>(&shared + 1);
  auto* image = reinterpret_cast<T*>(sums + slab_sums.floats() + 2 * plan.slab_channels);

  const int first_at = (place.row * columns + place.column) * V, step = place.rows * columns * V;
  T* to = image + first_at;
  const T* source = x.data + place.row * x.stride;
  for (int p = place.row; p < hw; p += place.rows, to += step, source += place.rows * x.stride) {
    if constexpr (sizeof(T) * V == 16) {
      async_copy_16(to, source, true);
    } else {
      store_shared(to, load<V>(source));
    }
  }
  async_copy_commit();
  ShiftedSums<V> own_sums;
  if (place.active) own_sums.shift = load_numbers<V>(x.data);
  // Of each channel's numbers, the same thread makes others later.
  for (int c = static_cast<int>(threadIdx.x); c < channels; c += static_cast<int>(blockDim.x)) {
    const ChannelWeights w(args, plan, n, slab.first + c);
    shared.a[c] = w.weight;
    shared.b[c] = w.bias;
  }
  async_copy_wait<0>();

  const T* from = image + first_at;
  for (int p = place.row; p < hw; p += place.rows, from += step)
    own_sums.add(load_numbers<V>(from));
  slab_sums.store(sums, place, own_sums.sum, own_sums.squares);
  __syncthreads();
  slab_sums.add_parts(sums, channels);
  __syncthreads();
  using Normalise = Normaliser<T, V, kSilu>;
  join_moments(
      slab_sums, sums, plan, channels, [&](int c) { return to_float(image[c]); },
      [&](int c, int group, float mean, float variance) {
        const float rstd = 1.0f / sqrtf(variance + args.eps);
        if (c == group) {
          const int64_t at = n * plan.groups + plan.per_group.quotient(slab.first + c);
          args.mean[at] = mean;
          args.rstd[at] = rstd;
        }
        const auto ab = Normalise::of(mean, rstd, shared.a[c], shared.b[c]);
        shared.a[c] = ab[0];
        shared.b[c] = ab[1];
        if constexpr (Normalise::kCentred) shared.mean[c] = mean;
      });
  __syncthreads();

  if (!place.active) return;
  Normalise normalise;
  normalise.a = load_numbers<V>(shared.a + place.column * V);
  normalise.b = load_numbers<V>(shared.b + place.column * V);
  if constexpr (Normalise::kCentred)
    normalise.mean = load_numbers<V>(shared.mean + place.column * V);
  if constexpr (kPooled<Side>) {
    // Of pixels that others have copied, too: they have arrived before the barriers of the sums.
    int64_t result = (n * side.count + place.row) * plan.c + place.channel;
    for (int window = place.row; window < side.count;
         window += place.rows, result += place.rows * plan.c) {
      from = image + (side.pixel(window) * columns + place.column) * V;
      Numbers<V> y, x_mean;
#pragma unroll
      for (int line = 0; line < 2; ++line, from += side.w * columns * V) {
        const auto left = load_numbers<V>(from), right = load_numbers<V>(from + columns * V);
        const auto left_y = normalise(left), right_y = normalise(right);
#pragma unroll
        for (int j = 0; j < V; ++j) {
          y[j] += 0.25f * (left_y[j] + right_y[j]);
          x_mean[j] += 0.25f * (left[j] + right[j]);
        }
      }
      store_numbers(args.y + result, y);
      store_numbers(pooled_x + result, x_mean);
    }
    return;
  }
  [[maybe_unused]] const RandomKey key = kDrop ? resolved(args.dropout.key) : RandomKey{};
  [[maybe_unused]] const auto sample = static_cast<uint64_t>(args.dropout.first_sample + n);
  from = image + first_at;
  T* y = args.y + n * plan.hw * plan.c;
  int64_t e = static_cast<int64_t>(place.row) * plan.c + place.channel;
  for (int p = place.row; p < hw; p += place.rows, from += step, e += place.rows * plan.c) {
    auto numbers = normalise(load_numbers<V>(from));
    if constexpr (kDrop) drop_out(numbers, drop, key, sample, e);
    store_numbers(y + e, numbers);
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
