// What the kernels of slabs have in common: an image's way to shared memory, two sums of each
// channel over the pixels, and a group's mean and variance.
#pragma once

#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/group_norm.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// Two sums of each channel. Threads lay down theirs of V channels side by side; they are added up
// by `parts` of the rows, then over the parts. In which order depends on the shape alone.
template <int V>
struct SlabSums {
  static constexpr int kEach = 2 * V;                         // of a thread
  static constexpr int kPitch = kEach + (kEach % 4 ? 1 : 4);  // spreads threads over the banks
  int columns, rows, parts;

  __host__ __device__ SlabSums(int columns_, int rows_)
      : columns(columns_), rows(rows_), parts(rows_ >= kEach ? rows_ / kEach : 1) {}
  static SlabSums of(const GroupNormPlan& plan) {
    const int columns = plan.slab_channels / V;
    return {columns, plan.threads / columns};
  }
  __host__ __device__ int floats() const { return columns * (rows * kPitch + parts * kEach); }

  // Lays down one thread's.
  __device__ void store(float* memory, const Place& place, const Numbers<V>& first,
                        const Numbers<V>& second) const {
    if (!place.active) return;
    float* to = memory + (place.row * columns + place.column) * kPitch;
    const auto write = [](float* at, const Numbers<V>& x) {
      if constexpr (V % 4 == 0) {
#pragma unroll
        for (int j = 0; j < V; j += 4)
          store_shared(at + j, Vector<float, 4>{x[j], x[j + 1], x[j + 2], x[j + 3]});
      } else {
        for (int j = 0; j < V; ++j) at[j] = x[j];
      }
    };
    write(to, first);
    write(to + V, second);
  }
  // Of the first `channels`, which exist. After a barrier, and before the next. Where there are
  // several parts there is a thread for each sum.
  __device__ void add_parts(float* memory, int channels) const {
    float* sums = memory + columns * rows * kPitch;
    const int all = columns * kEach, t = static_cast<int>(threadIdx.x);
    const int part = parts > 1 ? t / all : 0;
    if (part >= parts) return;
    for (int i = t - part * all; i < all; i += static_cast<int>(blockDim.x)) {
      const int column = i / kEach;
      if (column * V >= channels) continue;
      const float* from = memory + (part * columns + column) * kPitch + i % kEach;
      float sum = 0;
#pragma unroll 4
      for (int row = part; row < rows; row += parts, from += parts * columns * kPitch) sum += *from;
      sums[part * all + i] = sum;
    }
  }
  // Of the slab's channel c.
  __device__ Numbers<2> of(const float* memory, int c) const {
    const float* sums = memory + columns * rows * kPitch + c / V * kEach + c % V;
    Numbers<2> total;
    for (int part = 0; part < parts; ++part, sums += columns * kEach) {
      total[0] += sums[0];
      total[1] += sums[V];
    }
    return total;
  }
};

// Adds x - shift and its square, where shift is the channel's first pixel: the variance is the mean
// square less the square of the mean, and cancels little when the shift is one of the values (Chan,
// Golub & LeVeque 1983): of N values none is further than sqrt(N) deviations from their mean, so
// that not more than N times the rounding of f32 is lost.
template <int V>
struct ShiftedSums {
  Numbers<V> shift, sum, squares;

  __device__ void add(const Numbers<V>& x) {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float d = x[j] - shift[j];
      sum[j] += d;
      squares[j] = fmaf(d, d, squares[j]);
    }
  }
};

// From shifted sums, which add_parts() has added up: each(c, group's first channel, mean, variance)
// by the thread of each of the slab's channels; channels are joined to groups by the same paper's
// formula. shift(c) is the channel's first pixel. Behind the sums there is room for two numbers of
// each of the slab's channels. After a barrier; has another.
template <int V, class Shift, class Each>
__device__ inline void join_moments(const SlabSums<V>& slab, float* sums, const GroupNormPlan& plan,
                                    int channels, const Shift& shift, const Each& each) {
  const int t = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const auto pixels = static_cast<float>(plan.hw);
  float *const means = sums + slab.floats(), *const squared = means + plan.slab_channels;
  for (int c = t; c < channels; c += threads) {
    const auto total = slab.of(sums, c);
    const float mean = total[0] / pixels;
    means[c] = shift(c) + mean;
    squared[c] = total[1] - total[0] * mean;
  }
  __syncthreads();
  const int d = plan.group_channels;
  for (int c = t; c < channels; c += threads) {
    const int group = static_cast<int>(plan.per_group.quotient(c)) * d;
    float mean = 0, squares = 0;
    for (int i = group; i < group + d; ++i) mean += means[i];
    mean /= static_cast<float>(d);
    for (int i = group; i < group + d; ++i) {
      const float apart = means[i] - mean;
      squares += squared[i] + pixels * apart * apart;
    }
    each(c, group, mean, squares / (pixels * static_cast<float>(d)));
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
