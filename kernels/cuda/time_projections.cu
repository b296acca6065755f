// All that a network's blocks are told of the time, in one launch.
//
// The work is next to nothing, two products with small matrices and one with all the projections;
// as operators of their own they are six launches, each of which waits for memory once. Here a
// block has up to eight rows (samples) and a range of the projections' columns, and makes the two
// hidden layers of its rows itself, in shared memory: for one sample some twenty blocks do the
// same, but at the same time.
//
// A team of eight lanes shares a sum: a weight is read once for all rows, by neighbouring lanes in
// neighbouring places, and the team's sums for eight rows are added up so that lane r of it has
// that of row r. Which lane has which part of a sum depends on neither rows nor blocks, and neither
// do its bits.
#include <algorithm>

#include "kernels/cuda/device/shared_limit.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kThreads = 512, kTeam = 8, kTeams = kThreads / kTeam;
constexpr int kMostRows = kTeam;
constexpr int kLayersMost = 32;  // of a launch
constexpr int kPad = 4;          // floats behind a row: the next one begins in other banks
template <int kRows>
constexpr int kEach = kRows == 1 ? 1 : 2;  // columns that a team does at a time

struct Projections {
  TimeProjectionsArgs args;
  int columns_of_block, count;
  int first[kLayersMost + 1];  // columns before each layer
  LinearGroupArgs::Layer layers[kLayersMost];
};

// The team's sum: with one row, in every lane; with eight, that of row r in lane r. Both add the
// lanes' parts in the same order.
template <int kRows>
__device__ inline float team_sum(float (&sum)[kRows]) {
  static_assert(kRows == 1 || kRows == kTeam);
  const int lane = static_cast<int>(threadIdx.x) % kTeam;
#pragma unroll
  for (int apart = kTeam / 2; apart > 0; apart /= 2) {
    if constexpr (kRows == 1) {
      sum[0] += __shfl_xor_sync(kFullMask, sum[0], apart);
    } else {  // `apart` rows stay, those whose lanes are on this side; the others go across
#pragma unroll
      for (int i = 0; i < apart; ++i) {
        const float low = sum[i], high = sum[i + apart];
        const float sent = __shfl_xor_sync(kFullMask, lane & apart ? low : high, apart);
        sum[i] = (lane & apart ? high : low) + sent;
      }
    }
  }
  return sum[0];
}

// finish(row, column, sum over i of weight[column, i] x[row, i]) for columns [begin, end), once for
// each. x lies in shared memory, its rows `pitch` apart.
template <int kRows, int kWidth, class Finish>
__device__ inline void multiply(const float* weight, int begin, int end, int inners, const float* x,
                                int pitch, Finish finish) {
  constexpr int kMany = kEach<kRows>;
  const int t = static_cast<int>(threadIdx.x), lane = t % kTeam;
  const int warp0 = t / kWarp * (kWarp / kTeam) * kMany, own = t % kWarp / kTeam * kMany;
  for (int first = begin + warp0; first < end; first += kTeams * kMany) {  // by whole warps
    float sum[kMany][kRows] = {};
    const float* row[kMany];
#pragma unroll
    for (int e = 0; e < kMany; ++e) {
      const int column = first + own + e < end ? first + own + e : end - 1;
      row[e] = weight + static_cast<int64_t>(column) * inners;
    }
#pragma unroll 4
    for (int i = lane * kWidth; i < inners; i += kTeam * kWidth) {
      Vector<float, kWidth> w[kMany];
#pragma unroll
      for (int e = 0; e < kMany; ++e) w[e] = load<kWidth>(row[e] + i);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const auto value = load<kWidth>(x + r * pitch + i);
#pragma unroll
        for (int e = 0; e < kMany; ++e)
#pragma unroll
          for (int j = 0; j < kWidth; ++j) sum[e][r] = fmaf(w[e][j], value[j], sum[e][r]);
      }
    }
#pragma unroll
    for (int e = 0; e < kMany; ++e) {
      const float total = team_sum(sum[e]);
      if (first + own + e < end && lane < kRows) finish(lane, first + own + e, total);
    }
  }
}

template <int kRows, int kWidth>
__global__ void __launch_bounds__(kThreads, 1) time_projections_kernel(Projections p) {
  follow_previous_kernel();
  const TimeProjectionsArgs& args = p.args;
  const int hidden = static_cast<int>(args.hidden), channels = static_cast<int>(args.channels);
  const int half = channels / 2, wide = hidden + kPad, narrow = channels + kPad;
  float* const e = &shared_memory<float>();  // [kRows, wide]
  float* const inner = e + kRows * wide;     // [kRows, wide]
  float* const embedding = inner + kRows * wide;
  const int64_t row0 = int64_t{blockIdx.x} * kRows;
  const int rows = args.n - row0 < kRows ? static_cast<int>(args.n - row0) : kRows;

  for (int i = static_cast<int>(threadIdx.x); i < kRows * half; i += kThreads) {
    const int row = i / half, k = i % half;
    embed_time(row < rows ? args.t[row0 + row] : 0, k, half, args.last_frequency,
               embedding + row * narrow);
  }
  __syncthreads();
  multiply<kRows, kWidth>(args.weight1, 0, hidden, channels, embedding, narrow,
                          [&](int row, int column, float x) {
                            x += args.bias1[column];
                            inner[row * wide + column] = x * sigmoid(x);
                          });
  __syncthreads();
  multiply<kRows, kWidth>(args.weight2, 0, hidden, hidden, inner, wide,
                          [&](int row, int column, float x) {
                            x += args.bias2[column];
                            if (args.more && row < rows)
                              x += args.more[(row0 + row) * hidden + column];
                            e[row * wide + column] = x * sigmoid(x);
                          });
  __syncthreads();

  const int begin = static_cast<int>(blockIdx.y) * p.columns_of_block;
  const int end = begin + p.columns_of_block;
  for (int l = 0; l < p.count; ++l) {
    const int first = p.first[l] > begin ? p.first[l] : begin;
    const int last = p.first[l + 1] < end ? p.first[l + 1] : end;
    if (first >= last) continue;
    const LinearGroupArgs::Layer& layer = p.layers[l];
    multiply<kRows, kWidth>(layer.weight, first - p.first[l], last - p.first[l], hidden, e, wide,
                            [&](int row, int column, float x) {
                              if (row < rows)
                                layer.y[(row0 + row) * layer.ldy + column] =
                                    layer.bias ? x + layer.bias[column] : x;
                            });
  }
}

template <int kRows, int kWidth>
void run(Projections p, Stream stream) {
  constexpr int64_t kUnit = kTeams * kEach<kRows>;  // columns that a block does at once
  const int64_t tiles = ceil_div(p.args.n, kRows), columns = p.first[p.count];
  const int64_t groups =
      std::clamp<int64_t>(multiprocessors() / tiles, 1, ceil_div(columns, kUnit));
  p.columns_of_block = static_cast<int>(ceil_div(ceil_div(columns, groups), kUnit) * kUnit);
  const int64_t floats = kRows * (2 * (p.args.hidden + kPad) + p.args.channels + kPad);
  require(static_cast<size_t>(floats) * sizeof(float) <= most_shared_memory(),
          "time_projections: {} channels and {} hidden units for {} rows at once do not fit into "
          "shared memory",
          p.args.channels, p.args.hidden, kRows);
  launch<time_projections_kernel<kRows, kWidth>>(
      dim3(static_cast<unsigned>(tiles),
           static_cast<unsigned>(ceil_div(columns, p.columns_of_block))),
      kThreads, static_cast<size_t>(floats) * sizeof(float), stream, p);
}

}  // namespace

void time_projections(const TimeProjectionsArgs& args, Stream stream) {
  for (int64_t done = 0; done < args.count; done += kLayersMost) {
    Projections p{.args = args,
                  .columns_of_block = 0,
                  .count = static_cast<int>(std::min<int64_t>(args.count - done, kLayersMost)),
                  .first = {},
                  .layers = {}};
    std::copy_n(args.layers + done, p.count, p.layers);
    bool aligned = args.hidden % 4 == 0 && args.channels % 4 == 0 && aligned16(args.weight1) &&
                   aligned16(args.weight2);
    for (int l = 0; l < p.count; ++l) {
      p.first[l + 1] = p.first[l] + static_cast<int>(p.layers[l].out);
      aligned = aligned && aligned16(p.layers[l].weight);
    }
    if (args.n == 0 || p.first[p.count] == 0) continue;
    const bool few = args.n < kMostRows;
    if (aligned)
      few ? run<1, 4>(p, stream) : run<kMostRows, 4>(p, stream);
    else
      few ? run<1, 1>(p, stream) : run<kMostRows, 1>(p, stream);
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
