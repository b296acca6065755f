// Group normalisation, backward. group_norm.h explains how a sample is cut, group_norm_backward.h
// what is computed.
//
// Slabs: one kernel, group_norm_backward_slab.h. Chunks (three kernels): sums per chunk, sums per
// group, dx from a second reading. One more kernel adds dgamma and dbeta up over the samples, in a
// fixed order.
#include <algorithm>

#include "kernels/cuda/group_norm_backward_slab.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

template <int V>
struct ChunkShared {
  float partial[kNormThreads * V];  // [channel][rows]
};

// A thread of a chunk reads what it must know of its channels.
template <class T, int V, bool kSilu, bool kDrop>
__device__ inline auto gradient_of(const BasicGroupNormArgs<T>& args, const GroupNormPlan& plan,
                                   int64_t n, const Place& place, const DropoutScale& drop) {
  NormGradient<T, V, kSilu, kDrop> gradient(args, n, drop);
  if (!place.active) return gradient;
  Weights<V> w;
  w.read(args, plan, n, place);
  each_group<V>(place.channel, plan.group_channels, [&](int j, int g) {
    gradient.mean[j] = args.mean[n * plan.groups + g];
    gradient.a[j] = args.rstd[n * plan.groups + g] * w.weight[j];
    gradient.bias[j] = w.bias[j];
  });
  return gradient;
}

// sums [N][chunks][2][C]: of dz and of dz d, of each chunk.
template <class T, int V, bool kSilu, bool kDrop>
__global__ void __launch_bounds__(kNormThreads)
    chunk_sums(BasicGroupNormBackwardArgs<T> args, GroupNormPlan plan, DropoutScale drop,
               float* sums) {
  follow_previous_kernel();
  auto& shared = shared_memory<ChunkShared<V>>();
  const Tile tile = Tile::of<V>(plan);
  const Place place = Place::of<V>(plan.tile_columns, tile.first, tile.end, tile.pixels);
  const Column<const T> x =
      column_of(args.forward.x0, args.forward.x1, plan, tile.n, place.channel);
  const T* dy = args.dy + tile.n * plan.hw * plan.c;
  const auto gradient = gradient_of<T, V, kSilu, kDrop>(args.forward, plan, tile.n, place, drop);
  NormSums<V> own;
#pragma unroll 4
  for (int p = place.row; p < tile.pixels; p += place.rows) {
    const int64_t pixel = tile.begin + p, e = pixel * plan.c + place.channel;
    const auto d = gradient.deviations(load<V>(x.data + pixel * x.stride));
    own.add(d, gradient(d, load_numbers<V>(dy + e), e));
  }
  float* out = sums + (tile.n * plan.chunks + tile.chunk) * 2 * plan.c + tile.first;
  store_partial(shared.partial, place, own.dz.v);
  __syncthreads();
  sum_runs(shared.partial, tile.end - tile.first, place.rows,
           [&](int c, float total) { out[c] = total; });
  __syncthreads();
  store_partial(shared.partial, place, own.dz_d.v);
  __syncthreads();
  sum_runs(shared.partial, tile.end - tile.first, place.rows,
           [&](int c, float total) { out[plan.c + c] = total; });
}

// One block per sample and group, a warp per channel: chunks are added up, everything but dx
// follows. means [N][G][2]: p, q.
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
  const auto rstd = static_cast<double>(args.forward.rstd[blockIdx.x]);
  double m1 = 0, m2 = 0;
  for (int c = g * d + warp; c < (g + 1) * d; c += kGroupThreads / kWarp) {
    double s1 = 0, s2 = 0;
    for (int chunk = lane; chunk < plan.chunks; chunk += kWarp) {
      const float* part = sums + (n * plan.chunks + chunk) * 2 * plan.c + c;
      s1 += static_cast<double>(part[0]);
      s2 += static_cast<double>(part[plan.c]);
    }
    s1 = warp_sum(s1);
    s2 = rstd * warp_sum(s2);
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
  means[2 * blockIdx.x] = static_cast<float>(rstd * m1 / count);
  means[2 * blockIdx.x + 1] = static_cast<float>(rstd * rstd * m2 / count);
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
  const auto gradient = gradient_of<T, V, kSilu, kDrop>(args.forward, plan, tile.n, place, drop);
  Numbers<V> mean_p, mean_q;
  each_group<V>(place.channel, plan.group_channels, [&](int j, int g) {
    const float* pair = means + 2 * (tile.n * plan.groups + g);
    mean_p[j] = pair[0];
    mean_q[j] = pair[1];
  });
#pragma unroll 4
  for (int p = place.row; p < tile.pixels; p += place.rows) {
    const int64_t pixel = tile.begin + p, e = pixel * plan.c + place.channel;
    const auto d = gradient.deviations(load<V>(x.data + pixel * x.stride));
    store(dx.data + pixel * dx.stride,
          gradient.of_input(d, gradient(d, load_numbers<V>(dy + e), e), mean_p, mean_q,
                            add.at(pixel * dx.stride)));
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

template <class T, int V, bool kSilu, bool kDrop, class Side>
void launch_slabs(const BasicGroupNormBackwardArgs<T>& args, const GroupNormPlan& plan,
                  const Side& side, float* totals, Stream stream) {
  const auto sums = SlabSums<V>::of(plan);
  const size_t bytes = sizeof(NormBackwardShared) +
                       static_cast<size_t>(2 * plan.hw * plan.slab_channels) * sizeof(T) +
                       static_cast<size_t>(sums.floats()) * sizeof(float);
  launch<group_norm_backward_slab<T, V, kSilu, kDrop, Side>>(
      grid_of(args.forward.n * plan.slabs), plan.threads, bytes, stream, args, plan,
      dropout_scale(args.forward.dropout), side, totals);
}

template <class T, int V, bool kSilu, bool kDrop, class Side = Pixels>
void run(const BasicGroupNormBackwardArgs<T>& args, Stream stream, const Side& side = {}) {
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
    launch_slabs<T, V, kSilu, kDrop>(args, plan, side, totals, stream);
  } else {
    float* sums = memory + total_floats;
    float* means = sums + sum_floats;
    const dim3 grid = grid_of(f.n * plan.chunks, plan.tiles);
    launch<chunk_sums<T, V, kSilu, kDrop>>(grid, plan.threads, sizeof(ChunkShared<V>), stream, args,
                                           plan, drop, sums);
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

void group_norm_pooled_backward_bf16(const PooledNormBackwardArgs& args, Stream stream) {
  const BasicGroupNormBackwardArgs<bf16>& norm = args.norm;
  require(aligned16(norm.forward.x0) && aligned16(norm.dy) && aligned16(norm.dx0) &&
              aligned16(norm.add0),
          "group_norm_pooled_backward_bf16: x0, dy, dx0 and add0 must be aligned to 16 bytes");
  if (norm.forward.n == 0) return group_norm_backward(norm, stream);
  run<bf16, kVector<bf16>, true, false>(norm, stream, Windows(args.h, args.w));
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
