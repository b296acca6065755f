// Group normalisation, backward. group_norm.h explains how a sample is cut.
//
// With xhat = (x - mean) rstd, w[c] = gamma (1 + scale) and dz the gradient behind SiLU and
// dropout, everything follows from two sums per channel and sample,
//   s1[c] = sum dz,  s2[c] = sum dz xhat:
//   dscale = gamma s2 + beta s1,  dshift = s1,
//   dgamma = sum_n (1 + scale) s2,  dbeta = sum_n (1 + scale) s1,
//   dx = rstd (dz w - m1 - xhat m2)   with m1, m2 the group's means of w s1 and w s2.
//
// Slabs (one kernel): x and dy of some whole groups are in shared memory; dz is computed twice, for
// the sums and for dx, because parking it would need more memory (and f32 where storage is bf16).
// Chunks (three kernels): sums per chunk, sums per group, dx from a second reading.
// One more kernel adds dgamma and dbeta up over the samples, in a fixed order.
#include "kernels/cuda/group_norm.h"

#include <algorithm>

#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

// The slabs of x and of dy, [pixels][columns] vectors each, follow in shared memory.
template <int V>
struct alignas(16) NormBackwardShared {
  float partial[kNormThreads * V];                           // [channel][rows]
  float weighted1[kSlabChannels], weighted2[kSlabChannels];  // w s1, w s2 of each channel
  float mean1[kSlabChannels], mean2[kSlabChannels];          // m1, m2 of each group
};

// What a thread knows of its V channels, and how it gets from x and dy to xhat and dz.
template <class T, int V, bool kSilu, bool kDrop>
struct Recompute {
  float mean[V] = {}, rstd[V] = {};
  Weights<V> w;
  DropoutScale drop;
  RandomKey key;
  uint64_t sample;

  __device__ Recompute(const BasicGroupNormArgs<T>& args, const GroupNormPlan& plan, int64_t n,
                       const Place& place, const DropoutScale& drop_)
      : drop(drop_),
        key(kDrop ? resolved(args.dropout.key) : RandomKey{}),
        sample(static_cast<uint64_t>(args.dropout.first_sample + n)) {
    w.read(args, plan, n, place);
    if (!place.active) return;
    each_group<V>(place.channel, plan.group_channels, [&](int j, int g) {
      mean[j] = args.mean[n * plan.groups + g];
      rstd[j] = args.rstd[n * plan.groups + g];
    });
  }

  // e: the number of the first element within its sample.
  __device__ void operator()(const Vector<T, V> x, const Vector<T, V> dy, int64_t e,
                             float (&xhat)[V], float (&dz)[V]) const {
    [[maybe_unused]] uint32_t draw[V];
    if constexpr (kDrop) dropout_draws<V>(key, sample, e, draw);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      xhat[j] = (to_float(x[j]) - mean[j]) * rstd[j];
      float d = to_float(dy[j]);
      if constexpr (kDrop) d = draw[j] < drop.threshold ? 0.0f : d * drop.scale;
      if constexpr (kSilu) {
        const float z = xhat[j] * w.weight[j] + w.bias[j];
        const float s = sigmoid_approximate(z);
        d *= s + z * s * (1.0f - s);
      }
      dz[j] = d;
    }
  }
};

// Writes what follows from one channel's sums; returns its w.
template <class T>
__device__ inline float finish_channel(const BasicGroupNormBackwardArgs<T>& args,
                                       const GroupNormPlan& plan, int64_t n, int c, float s1,
                                       float s2, float* totals) {
  const BasicGroupNormArgs<T>& f = args.forward;
  const float one_scale = f.scale_shift ? 1.0f + f.scale_shift[n * 2 * plan.c + c] : 1.0f;
  if (args.dscale_shift != nullptr) {
    float* out = args.dscale_shift + n * 2 * plan.c + c;
    out[0] = f.gamma[c] * s2 + f.beta[c] * s1;
    out[plan.c] = s1;
  }
  if (totals != nullptr) {
    totals[n * 2 * plan.c + c] = one_scale * s1;
    totals[n * 2 * plan.c + plan.c + c] = one_scale * s2;
  }
  return f.gamma[c] * one_scale;
}

// What else flows into the thread's channels of x0 or x1, or nothing.
template <class T, int V>
struct Addend {
  const T* data;  // of the sample's first pixel, or null

  __device__ Numbers<V> at(int64_t offset) const {
    return data ? load_numbers<V>(data + offset) : Numbers<V>();
  }
};
template <class T, int V, bool kSilu, bool kDrop>
__device__ inline Vector<T, V> input_gradient(const Recompute<T, V, kSilu, kDrop>& recompute,
                                              const float (&xhat)[V], const float (&dz)[V],
                                              const float (&m1)[V], const float (&m2)[V],
                                              const Numbers<V>& add) {
  float dx[V];
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const float d = dz[j] * recompute.w.weight[j] - m1[j] - xhat[j] * m2[j];
    dx[j] = recompute.rstd[j] * d + add[j];
  }
  return from_floats<T>(dx);
}

// totals [N][2][C]: dbeta and dgamma of each sample; null where nobody wants them.
template <class T, int V, bool kSilu, bool kDrop>
__global__ void __launch_bounds__(kNormThreads, 2)
    group_norm_backward_slab(BasicGroupNormBackwardArgs<T> args, GroupNormPlan plan,
                             DropoutScale drop, float* totals) {
  follow_previous_kernel();
  NormBackwardShared<V>& shared = shared_memory<NormBackwardShared<V>>();
  const int columns = plan.slab_channels / V, hw = static_cast<int>(plan.hw);
  auto* slab_x = reinterpret_cast<T*>(&shared + 1);
  T* slab_dy = slab_x + hw * columns * V;
  const int block = block_in_order(plan);
  const int64_t n = block / plan.slabs;
  const int first = block % plan.slabs * plan.slab_channels;
  const int end = std::min(first + plan.slab_channels, plan.c);
  const Place place = Place::of<V>(columns, first, end, hw);
  const Column<const T> x = column_of(args.forward.x0, args.forward.x1, plan, n, place.channel);
  const T* dy = args.dy + n * plan.hw * plan.c + place.channel;

  for (int p = place.row; p < hw; p += place.rows) {
    const int at = (p * columns + place.column) * V;
    if constexpr (sizeof(T) * V == 16) {
      async_copy_16(slab_x + at, x.data + p * x.stride, true);
      async_copy_16(slab_dy + at, dy + static_cast<int64_t>(p) * plan.c, true);
    } else {
      store_shared(slab_x + at, load<V>(x.data + p * x.stride));
      store_shared(slab_dy + at, load<V>(dy + static_cast<int64_t>(p) * plan.c));
    }
  }
  async_copy_commit();
  const Recompute<T, V, kSilu, kDrop> recompute(args.forward, plan, n, place, drop);
  async_copy_wait<0>();

  float s1[V] = {}, s2[V] = {}, xhat[V], dz[V];
  for (int p = place.row; p < hw; p += place.rows) {
    const int at = (p * columns + place.column) * V;
    recompute(load<V>(slab_x + at), load<V>(slab_dy + at),
              static_cast<int64_t>(p) * plan.c + place.channel, xhat, dz);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      s1[j] += dz[j];
      s2[j] += dz[j] * xhat[j];
    }
  }
  // sum_runs gives channel c to the same thread both times, so weighted1[c] is its own s1 when it
  // comes back with s2.
  store_partial(shared.partial, place, s1);
  __syncthreads();
  sum_runs(shared.partial, end - first, place.rows,
           [&](int c, float total) { shared.weighted1[c] = total; });
  __syncthreads();
  store_partial(shared.partial, place, s2);
  __syncthreads();
  sum_runs(shared.partial, end - first, place.rows, [&](int c, float total) {
    const float w = finish_channel(args, plan, n, first + c, shared.weighted1[c], total, totals);
    shared.weighted1[c] *= w;
    shared.weighted2[c] = w * total;
  });
  if (args.dx0 == nullptr && args.dx1 == nullptr) return;
  __syncthreads();
  const int d = plan.group_channels, groups = (end - first) / d;
  const float count = static_cast<float>(hw) * static_cast<float>(d);
  sum_runs(shared.weighted1, groups, d,
           [&](int g, float total) { shared.mean1[g] = total / count; });
  sum_runs(shared.weighted2, groups, d,
           [&](int g, float total) { shared.mean2[g] = total / count; });
  __syncthreads();

  const Column<T> dx = column_of(args.dx0, args.dx1, plan, n, place.channel);
  const Addend<T, V> add{column_of(args.add0, args.add1, plan, n, place.channel).data};
  if (!place.active || dx.data == nullptr) return;
  float m1[V], m2[V];
  each_group<V>(place.channel - first, d, [&](int j, int g) {
    m1[j] = shared.mean1[g];
    m2[j] = shared.mean2[g];
  });
  for (int p = place.row; p < hw; p += place.rows) {
    const int at = (p * columns + place.column) * V;
    recompute(load<V>(slab_x + at), load<V>(slab_dy + at),
              static_cast<int64_t>(p) * plan.c + place.channel, xhat, dz);
    store(dx.data + p * dx.stride,
          input_gradient(recompute, xhat, dz, m1, m2, add.at(p * dx.stride)));
  }
}

// sums [N][chunks][2][C]: s1 and s2 of each chunk.
template <class T, int V, bool kSilu, bool kDrop>
__global__ void __launch_bounds__(kNormThreads)
    chunk_sums(BasicGroupNormBackwardArgs<T> args, GroupNormPlan plan, DropoutScale drop,
               float* sums) {
  follow_previous_kernel();
  NormBackwardShared<V>& shared = shared_memory<NormBackwardShared<V>>();
  const Tile tile = Tile::of<V>(plan);
  const Place place = Place::of<V>(plan.tile_columns, tile.first, tile.end, tile.pixels);
  const Column<const T> x =
      column_of(args.forward.x0, args.forward.x1, plan, tile.n, place.channel);
  const T* dy = args.dy + tile.n * plan.hw * plan.c;
  const Recompute<T, V, kSilu, kDrop> recompute(args.forward, plan, tile.n, place, drop);
  float s1[V] = {}, s2[V] = {}, xhat[V], dz[V];
#pragma unroll 4
  for (int p = place.row; p < tile.pixels; p += place.rows) {
    const int64_t pixel = tile.begin + p, e = pixel * plan.c + place.channel;
    recompute(load<V>(x.data + pixel * x.stride), load<V>(dy + e), e, xhat, dz);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      s1[j] += dz[j];
      s2[j] += dz[j] * xhat[j];
    }
  }
  float* out = sums + (tile.n * plan.chunks + tile.chunk) * 2 * plan.c + tile.first;
  store_partial(shared.partial, place, s1);
  __syncthreads();
  sum_runs(shared.partial, tile.end - tile.first, place.rows,
           [&](int c, float total) { out[c] = total; });
  __syncthreads();
  store_partial(shared.partial, place, s2);
  __syncthreads();
  sum_runs(shared.partial, tile.end - tile.first, place.rows,
           [&](int c, float total) { out[plan.c + c] = total; });
}

// One block per sample and group, a warp per channel: chunks are added up, everything but dx
// follows. means [N][G][2]: m1, m2.
constexpr int kGroupThreads = 128;
struct GroupShared {
  double m1[kGroupThreads / kWarp], m2[kGroupThreads / kWarp];
};

template <class T>
__global__ void __launch_bounds__(kGroupThreads)
    group_gradients(BasicGroupNormBackwardArgs<T> args, GroupNormPlan plan, const float* sums,
                    float* totals, float* means) {
  follow_previous_kernel();
  GroupShared& shared = shared_memory<GroupShared>();
  const int64_t n = blockIdx.x / plan.groups;
  const int g = static_cast<int>(blockIdx.x % plan.groups), d = plan.group_channels;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  double m1 = 0, m2 = 0;
  for (int c = g * d + warp; c < (g + 1) * d; c += kGroupThreads / kWarp) {
    double s1 = 0, s2 = 0;
    for (int chunk = lane; chunk < plan.chunks; chunk += kWarp) {
      const float* part = sums + (n * plan.chunks + chunk) * 2 * plan.c + c;
      s1 += static_cast<double>(part[0]);
      s2 += static_cast<double>(part[plan.c]);
    }
    s1 = warp_sum(s1);
    s2 = warp_sum(s2);
    if (lane != 0) continue;
    const auto w = static_cast<double>(
        finish_channel(args, plan, n, c, static_cast<float>(s1), static_cast<float>(s2), totals));
    m1 += w * s1;
    m2 += w * s2;
  }
  if (lane == 0) {
    shared.m1[warp] = m1;
    shared.m2[warp] = m2;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int other = 1; other < kGroupThreads / kWarp; ++other) {
    m1 += shared.m1[other];
    m2 += shared.m2[other];
  }
  const double count = static_cast<double>(plan.hw) * d;
  means[2 * blockIdx.x] = static_cast<float>(m1 / count);
  means[2 * blockIdx.x + 1] = static_cast<float>(m2 / count);
}

template <class T, int V, bool kSilu, bool kDrop>
__global__ void __launch_bounds__(kNormThreads)
    chunk_input_gradient(BasicGroupNormBackwardArgs<T> args, GroupNormPlan plan, DropoutScale drop,
                         const float* means) {
  follow_previous_kernel();
  const Tile tile = Tile::of<V>(plan);
  const Place place = Place::of<V>(plan.tile_columns, tile.first, tile.end, tile.pixels);
  const Column<const T> x =
      column_of(args.forward.x0, args.forward.x1, plan, tile.n, place.channel);
  const Column<T> dx = column_of(args.dx0, args.dx1, plan, tile.n, place.channel);
  const Addend<T, V> add{column_of(args.add0, args.add1, plan, tile.n, place.channel).data};
  if (!place.active || dx.data == nullptr) return;
  const T* dy = args.dy + tile.n * plan.hw * plan.c;
  const Recompute<T, V, kSilu, kDrop> recompute(args.forward, plan, tile.n, place, drop);
  float m1[V], m2[V], xhat[V], dz[V];
  each_group<V>(place.channel, plan.group_channels, [&](int j, int g) {
    const float* pair = means + 2 * (tile.n * plan.groups + g);
    m1[j] = pair[0];
    m2[j] = pair[1];
  });
#pragma unroll 4
  for (int p = place.row; p < tile.pixels; p += place.rows) {
    const int64_t pixel = tile.begin + p, e = pixel * plan.c + place.channel;
    recompute(load<V>(x.data + pixel * x.stride), load<V>(dy + e), e, xhat, dz);
    store(dx.data + pixel * dx.stride,
          input_gradient(recompute, xhat, dz, m1, m2, add.at(pixel * dx.stride)));
  }
}

// A block adds up eight channels over all samples: 64 threads for each, then those in order.
constexpr int kParameterChannels = 8, kParameterParts = 64;
struct ParameterShared {
  double beta[kParameterParts][kParameterChannels], gamma[kParameterParts][kParameterChannels];
};

__global__ void __launch_bounds__(kParameterChannels* kParameterParts)
    parameter_gradients(int64_t n, int c, const float* totals, float* dgamma, float* dbeta) {
  follow_previous_kernel();
  ParameterShared& shared = shared_memory<ParameterShared>();
  const int within = static_cast<int>(threadIdx.x) % kParameterChannels;
  const int part = static_cast<int>(threadIdx.x) / kParameterChannels;
  const int channel = static_cast<int>(blockIdx.x) * kParameterChannels + within;
  double beta = 0, gamma = 0;
  if (channel < c) {
#pragma unroll 4
    for (int64_t i = part; i < n; i += kParameterParts) {
      beta += static_cast<double>(totals[i * 2 * c + channel]);
      gamma += static_cast<double>(totals[i * 2 * c + c + channel]);
    }
  }
  shared.beta[part][within] = beta;
  shared.gamma[part][within] = gamma;
  __syncthreads();
  if (part != 0 || channel >= c) return;
  for (int other = 1; other < kParameterParts; ++other) {
    beta += shared.beta[other][within];
    gamma += shared.gamma[other][within];
  }
  if (dgamma != nullptr) dgamma[channel] = static_cast<float>(gamma);
  if (dbeta != nullptr) dbeta[channel] = static_cast<float>(beta);
}

template <class T, int V, bool kSilu, bool kDrop>
void run(const BasicGroupNormBackwardArgs<T>& args, Stream stream) {
  const BasicGroupNormArgs<T>& f = args.forward;
  GroupNormPlan plan = plan_group_norm(f.hw, f.c0, f.c1, f.groups, V, sizeof(T), 2);
  plan.backwards = goes_backwards(f.n * f.hw * plan.c * int64_t{sizeof(T)});
  const DropoutScale drop = dropout_scale(f.dropout);
  const bool parameters = args.dgamma != nullptr || args.dbeta != nullptr;
  const int64_t total_floats = parameters ? f.n * 2 * plan.c : 0;
  const int64_t sum_floats = plan.slabs > 0 ? 0 : f.n * plan.chunks * 2 * plan.c;
  const int64_t mean_floats = plan.slabs > 0 ? 0 : f.n * f.groups * 2;
  float* memory = nullptr;
  if (total_floats + sum_floats > 0) {
    memory = static_cast<float*>(workspace(
        static_cast<size_t>(total_floats + sum_floats + mean_floats) * sizeof(float), stream));
  }
  float* totals = parameters ? memory : nullptr;
  if (plan.slabs > 0) {
    const size_t bytes = sizeof(NormBackwardShared<V>) +
                         static_cast<size_t>(2 * f.hw * plan.slab_channels) * sizeof(T);
    launch<group_norm_backward_slab<T, V, kSilu, kDrop>>(grid_of(f.n * plan.slabs), plan.threads,
                                                         bytes, stream, args, plan, drop, totals);
  } else {
    float* sums = memory + total_floats;
    float* means = sums + sum_floats;
    const dim3 grid = grid_of(f.n * plan.chunks, plan.tiles);
    launch<chunk_sums<T, V, kSilu, kDrop>>(grid, plan.threads, sizeof(NormBackwardShared<V>),
                                           stream, args, plan, drop, sums);
    launch<group_gradients<T>>(grid_of(f.n * f.groups), kGroupThreads, sizeof(GroupShared), stream,
                               args, plan, sums, totals, means);
    if (args.dx0 != nullptr || args.dx1 != nullptr)
      launch<chunk_input_gradient<T, V, kSilu, kDrop>>(grid, plan.threads, 0, stream, args, plan,
                                                       drop, means);
  }
  if (parameters) {
    launch<parameter_gradients>(grid_of(ceil_div(plan.c, kParameterChannels)),
                                kParameterChannels * kParameterParts, sizeof(ParameterShared),
                                stream, f.n, plan.c, totals, args.dgamma, args.dbeta);
  }
}

// The sum over no samples.
__global__ void zero_parameters(int c, float* dgamma, float* dbeta) {
  follow_previous_kernel();
  for (int i = static_cast<int>(threadIdx.x); i < c; i += static_cast<int>(blockDim.x)) {
    if (dgamma != nullptr) dgamma[i] = 0;
    if (dbeta != nullptr) dbeta[i] = 0;
  }
}

template <class T, int V>
void choose(const BasicGroupNormBackwardArgs<T>& args, Stream stream) {
  const bool silu = args.forward.silu;
  if (args.forward.dropout.rate > 0)
    silu ? run<T, V, true, true>(args, stream) : run<T, V, false, true>(args, stream);
  else
    silu ? run<T, V, true, false>(args, stream) : run<T, V, false, false>(args, stream);
}

}  // namespace

template <class T>
void group_norm_backward(const BasicGroupNormBackwardArgs<T>& args, Stream stream) {
  const BasicGroupNormArgs<T>& f = args.forward;
  if (f.n == 0) {
    launch<zero_parameters>(1, kNormThreads, 0, stream, static_cast<int>(f.c0 + f.c1), args.dgamma,
                            args.dbeta);
    return;
  }
  const bool vectors = f.c0 % kVector<T> == 0 && f.c1 % kVector<T> == 0 && aligned16(f.x0) &&
                       aligned16(f.x1) && aligned16(args.dy) && aligned16(args.dx0) &&
                       aligned16(args.dx1) && aligned16(args.add0) && aligned16(args.add1);
  vectors ? choose<T, kVector<T>>(args, stream) : choose<T, 1>(args, stream);
}
template void group_norm_backward(const BasicGroupNormBackwardArgs<float>&, Stream);
template void group_norm_backward(const BasicGroupNormBackwardArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
