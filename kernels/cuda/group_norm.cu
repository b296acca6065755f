// Group normalisation, forward. group_norm.h explains how a sample is cut.
//
// Slabs: one kernel, in group_norm_slab.h.
//
// Chunks (three kernels). Sum and squared deviations per channel and chunk, from registers; their
// exact combination into groups (Chan, Golub & LeVeque 1983); then the output from a second reading
// of x.
#include <algorithm>

#include "kernels/cuda/group_norm_slab.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

template <int V>
struct ChunkShared {
  float partial[kNormThreads * V];  // [channel][rows]
};

// moments [N][chunks][2][C]: per channel the sum over the chunk's pixels and the sum of squared
// deviations from the chunk's own mean. A thread takes eight pixels at a time, and merges their
// moments into its own.
template <class T, int V>
__global__ void __launch_bounds__(kNormThreads, 2)
    channel_moments(BasicGroupNormArgs<T> args, GroupNormPlan plan, float* moments) {
  follow_previous_kernel();
  ChunkShared<V>& shared = shared_memory<ChunkShared<V>>();
  float* channel_sum = reinterpret_cast<float*>(&shared + 1);  // [channels of the tile]
  const auto [n, chunk, begin, pixels, first, end] = Tile::of<V>(plan);
  const Place place = Place::of<V>(plan.tile_columns, first, end, pixels);
  Column<const T> x = column_of(args.x0, args.x1, plan, n, place.channel);
  x.data += begin * x.stride;

  float sum[V] = {}, squares[V] = {}, taken = 0;
  for (int p0 = place.row; p0 < pixels; p0 += kChunkBatch * place.rows) {
    Vector<T, V> v[kChunkBatch];
    int batch = 0;
#pragma unroll
    for (int k = 0; k < kChunkBatch; ++k) {
      const int p = p0 + k * place.rows;
      if (p < pixels) {
        v[k] = load<V>(x.data + p * x.stride);
        batch = k + 1;
      }
    }
    const float size = static_cast<float>(batch);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      float s = 0, q = 0;
#pragma unroll
      for (int k = 0; k < kChunkBatch; ++k) s += k < batch ? to_float(v[k][j]) : 0.0f;
      const float mean = s / size;
#pragma unroll
      for (int k = 0; k < kChunkBatch; ++k) {
        const float deviation = k < batch ? to_float(v[k][j]) - mean : 0.0f;
        q += deviation * deviation;
      }
      if (taken > 0) {
        const float delta = mean - sum[j] / taken;
        q += delta * delta * (taken * size / (taken + size));
      }
      sum[j] += s;
      squares[j] += q;
    }
    taken += size;
  }

  float* out = moments + (n * plan.chunks + chunk) * 2 * plan.c + first;
  store_partial(shared.partial, place, sum);
  __syncthreads();
  sum_runs(shared.partial, end - first, place.rows,
           [&](int c, float total) { channel_sum[c] = out[c] = total; });
  __syncthreads();
  if (taken > 0) {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float mean = channel_sum[place.column * V + j] / static_cast<float>(pixels);
      const float delta = sum[j] / taken - mean;
      squares[j] += delta * delta * taken;
    }
  }
  store_partial(shared.partial, place, squares);
  __syncthreads();
  sum_runs(shared.partial, end - first, place.rows,
           [&](int c, float total) { out[plan.c + c] = total; });
}

// One block per sample and group: its channels' moments over all chunks become mean and rstd.
constexpr int kCombineThreads = 128;
struct CombineShared {
  double scratch[kCombineThreads / kWarp];
};

__global__ void __launch_bounds__(kCombineThreads)
    group_statistics(GroupNormPlan plan, float eps, const float* moments, float* mean_out,
                     float* rstd_out) {
  follow_previous_kernel();
  CombineShared& shared = shared_memory<CombineShared>();
  const int64_t n = blockIdx.x / plan.groups, g = blockIdx.x % plan.groups;
  const int d = plan.group_channels;
  const int64_t parts = int64_t{plan.chunks} * d;
  const float* base = moments + n * plan.chunks * 2 * plan.c + g * d;
  const double count = static_cast<double>(plan.hw) * d;
  double sum = 0;
  for (int64_t i = threadIdx.x; i < parts; i += kCombineThreads)
    sum += static_cast<double>(base[i / d * 2 * plan.c + i % d]);
  const double mean = block_sum<kCombineThreads>(sum, shared.scratch) / count;
  double squares = 0;
  for (int64_t i = threadIdx.x; i < parts; i += kCombineThreads) {
    const int64_t chunk = i / d;
    const float* part = base + chunk * 2 * plan.c + i % d;
    const auto pixels = static_cast<double>(
        std::min(plan.hw - chunk * plan.chunk_pixels, int64_t{plan.chunk_pixels}));
    const double delta = static_cast<double>(part[0]) / pixels - mean;
    squares += static_cast<double>(part[plan.c]) + pixels * delta * delta;
  }
  squares = block_sum<kCombineThreads>(squares, shared.scratch);
  if (threadIdx.x != 0) return;
  mean_out[blockIdx.x] = static_cast<float>(mean);
  rstd_out[blockIdx.x] = static_cast<float>(1.0 / sqrt(squares / count + static_cast<double>(eps)));
}

template <class T, int V, bool kSilu, bool kDrop>
__global__ void __launch_bounds__(kNormThreads)
    group_norm_apply(BasicGroupNormArgs<T> args, GroupNormPlan plan, DropoutScale drop) {
  follow_previous_kernel();
  const auto [n, chunk, begin, pixels, first, end] = Tile::of<V>(plan);
  const Place place = Place::of<V>(plan.tile_columns, first, end, pixels);
  if (!place.active) return;
  Column<const T> x = column_of(args.x0, args.x1, plan, n, place.channel);
  x.data += begin * x.stride;
  Weights<V> weights;
  weights.read(args, plan, n, place);
  using Normalise = Normaliser<T, V, kSilu>;
  Normalise normalise;
  const int64_t first_group = n * plan.groups;
  each_group<V>(place.channel, plan.group_channels, [&](int j, int g) {
    const int64_t at = first_group + g;
    const auto ab = Normalise::of(args.mean[at], args.rstd[at], weights.weight[j], weights.bias[j]);
    normalise.a[j] = ab[0];
    normalise.b[j] = ab[1];
    normalise.mean[j] = args.mean[at];
  });
  [[maybe_unused]] const RandomKey key = kDrop ? resolved(args.dropout.key) : RandomKey{};
  [[maybe_unused]] const auto sample = static_cast<uint64_t>(args.dropout.first_sample + n);
#pragma unroll(kDrop ? 2 : 4)
  for (int p = place.row; p < pixels; p += place.rows) {
    const int64_t e = (begin + p) * plan.c + place.channel;
    auto numbers = normalise(load_numbers<V>(x.data + p * x.stride));
    if constexpr (kDrop) drop_out(numbers, drop, key, sample, e);
    store_numbers(args.y + n * plan.hw * plan.c + e, numbers);
  }
}

template <class T, int V>
GroupNormPlan plan_for(const BasicGroupNormArgs<T>& args) {
  GroupNormPlan plan = plan_group_norm(args.hw, args.c0, args.c1, args.groups, V, sizeof(T), 1);
  plan.backwards = goes_backwards(args.n * args.hw * plan.c * int64_t{sizeof(T)});
  return plan;
}

template <class T, int V, bool kSilu, bool kDrop, class Side>
void launch_slabs(const BasicGroupNormArgs<T>& args, const GroupNormPlan& plan, const Side& side,
                  T* pooled_x, Stream stream) {
  const size_t bytes =
      sizeof(NormShared) + static_cast<size_t>(args.hw * plan.slab_channels) * sizeof(T) +
      static_cast<size_t>(SlabSums<V>::of(plan).floats() + 2 * plan.slab_channels) * sizeof(float);
  launch<group_norm_slab<T, V, kSilu, kDrop, Side>>(grid_of(args.n * plan.slabs), plan.threads,
                                                    bytes, stream, args, plan,
                                                    dropout_scale(args.dropout), side, pooled_x);
}

template <class T, int V, bool kSilu, bool kDrop>
void run(const BasicGroupNormArgs<T>& args, Stream stream) {
  const GroupNormPlan plan = plan_for<T, V>(args);
  const DropoutScale drop = dropout_scale(args.dropout);
  if (plan.slabs > 0)
    return launch_slabs<T, V, kSilu, kDrop>(args, plan, Pixels{}, static_cast<T*>(nullptr), stream);
  auto* moments = static_cast<float*>(
      workspace(static_cast<size_t>(args.n * plan.chunks * 2 * plan.c) * sizeof(float), stream));
  const dim3 grid = grid_of(args.n * plan.chunks, plan.tiles);
  const size_t bytes =
      sizeof(ChunkShared<V>) + static_cast<size_t>(plan.tile_columns) * V * sizeof(float);
  launch<channel_moments<T, V>>(grid, plan.threads, bytes, stream, args, plan, moments);
  launch<group_statistics>(grid_of(args.n * args.groups), kCombineThreads, sizeof(CombineShared),
                           stream, plan, args.eps, moments, args.mean, args.rstd);
  launch<group_norm_apply<T, V, kSilu, kDrop>>(grid, plan.threads, 0, stream, args, plan, drop);
}

template <class T, int V>
void choose(const BasicGroupNormArgs<T>& args, Stream stream) {
  if (args.dropout.rate > 0)
    args.silu ? run<T, V, true, true>(args, stream) : run<T, V, false, true>(args, stream);
  else
    args.silu ? run<T, V, true, false>(args, stream) : run<T, V, false, false>(args, stream);
}

}  // namespace

template <class T>
void group_norm(const BasicGroupNormArgs<T>& args, Stream stream) {
  if (args.n == 0) return;
  const bool vectors = args.c0 % kVector<T> == 0 && args.c1 % kVector<T> == 0 &&
                       aligned16(args.x0) && aligned16(args.x1) && aligned16(args.y);
  vectors ? choose<T, kVector<T>>(args, stream) : choose<T, 1>(args, stream);
}
template void group_norm(const BasicGroupNormArgs<float>&, Stream);
template void group_norm(const BasicGroupNormArgs<bf16>&, Stream);

void group_norm_pooled_bf16(const PooledNormArgs& args, Stream stream) {
  const BasicGroupNormArgs<bf16>& norm = args.norm;
  require(aligned16(norm.x0) && aligned16(norm.y) && aligned16(args.pooled_x),
          "group_norm_pooled_bf16: x0, y and pooled_x must be aligned to 16 bytes");
  if (norm.n == 0) return;
  constexpr int kEight = kVector<bf16>;
  launch_slabs<bf16, kEight, true, false>(norm, plan_for<bf16, kEight>(norm),
                                          Windows(args.h, args.w), args.pooled_x, stream);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
