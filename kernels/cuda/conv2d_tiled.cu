// Convolution and backward to input, the tiled rung: an implicit matrix product, f32 arithmetic.
//
// The matrix of patches (one row per output pixel, one column per tap and channel) would be nine
// times the image for a 3x3 filter. It is never built: a block computes a tile of kM output pixels
// by kN channels, and gathers eight columns of its patches at a time into shared memory, straight
// from the image (conv2d_gather.h says where each tap lies; zeros stand for what is outside).
//
// A multiplication needs two operands, which would be twice what shared memory delivers. So each
// thread keeps kEachM x kEachN sums in registers: per summed index it reads kEachM + kEachN values
// for kEachM * kEachN multiplications. The tiles lie in shared memory with the summed index slow,
// so that those reads are vectors, and exist twice: while one pair is multiplied, the next is on
// its way from device memory through registers to the other; a step needs one barrier.
//
// One thread sums an element over taps and channels in order, in every tile size: neither the tile
// nor the batch an image is in changes a bit of its result.
#include "kernels/cuda/conv2d_gather.h"
#include "kernels/cuda/conv2d_narrow.h"
#include "kernels/cuda/conv2d_rungs.h"
#include "kernels/cuda/register_tile.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

template <int kM_, int kN_, int kEachM_, int kEachN_>
struct ConvTile {
  static constexpr int kM = kM_, kN = kN_, kEachM = kEachM_, kEachN = kEachN_;
  static constexpr int kStep = 8;
  static constexpr int kThreadsN = kN / kEachN, kThreads = kM / kEachM * kThreadsN;
  // A thread's rows lie in runs of kWidthM, kApartM apart, so that a warp's reads are contiguous.
  static constexpr int kWidthM = kEachM < 4 ? kEachM : 4, kRunsM = kEachM / kWidthM;
  static constexpr int kWidthN = kEachN < 4 ? kEachN : 4, kRunsN = kEachN / kWidthN;
  static constexpr int kApartM = kM / kRunsM, kApartN = kN / kRunsN;
  // Vectors of four that a thread fetches per step. (The last may be one for some threads only.)
  static constexpr int kVectorsA = kM * kStep / 4, kFetchA = (kVectorsA + kThreads - 1) / kThreads;
  static constexpr int kVectorsB = kN * kStep / 4, kFetchB = (kVectorsB + kThreads - 1) / kThreads;

  struct Shared {
    float a[2][kStep][kM + 4], b[2][kStep][kN + 4];  // + 4 spreads the stores over the banks
  };

  float sum[kEachM][kEachN] = {};

  static __device__ int row() { return static_cast<int>(threadIdx.x) / kThreadsN * kWidthM; }
  static __device__ int column() { return static_cast<int>(threadIdx.x) % kThreadsN * kWidthN; }

  __device__ void multiply(const float (&a)[kStep][kM + 4], const float (&b)[kStep][kN + 4]) {
#pragma unroll
    for (int i = 0; i < kStep; ++i) {
      Vector<float, kWidthM> x[kRunsM];
      Vector<float, kWidthN> y[kRunsN];
#pragma unroll
      for (int run = 0; run < kRunsM; ++run) x[run] = load<kWidthM>(&a[i][row() + run * kApartM]);
#pragma unroll
      for (int run = 0; run < kRunsN; ++run)
        y[run] = load<kWidthN>(&b[i][column() + run * kApartN]);
#pragma unroll
      for (int r = 0; r < kEachM; ++r)
#pragma unroll
        for (int c = 0; c < kEachN; ++c)
          sum[r][c] = fmaf(x[r / kWidthM][r % kWidthM], y[c / kWidthN][c % kWidthN], sum[r][c]);
    }
  }
};

// Four channels of one output's patch; two neighbours in a warp take the two halves of a step.
template <class T, class Y>
__device__ Vector<float, 4> fetch_patch(const ConvGather<T, Y>& g, const Phase& p,
                                        const Phase::Place& at, const TapWalk& walk, int inner) {
  int y, x;
  const bool inside = p.y.find(at.y, p.y.tap(walk.i), y) & p.x.find(at.x, p.x.tap(walk.j), x);
  const int channel = walk.channel + inner, channels = walk.second ? g.c1 : g.c0;
  const T* source = walk.second ? g.x1 : g.x0;
  const int64_t pixel = (at.n * g.h + y) * g.w + x;
  return load_four(source + pixel * channels + channel, inside ? channels - channel : 0,
                   g.vectored_source);
}

// Four weights: of four source channels where those are contiguous (forward), or of four outs.
template <class T, class Y>
__device__ Vector<float, 4> fetch_weight(const ConvGather<T, Y>& g, const Phase& p,
                                         const TapWalk& walk, int out, int inner) {
  const int row = p.y.tap(walk.i).row, column = p.x.tap(walk.j).row;
  const int channel = walk.channel + inner, channels = walk.second ? g.c1 : g.c0;
  const auto* weight = g.weight + out * g.out_stride + (row * g.filter + column) * g.tap_stride +
                       (channel + (walk.second ? g.c0 : 0)) * g.in_stride;
  const bool inside = out < g.outs() && channel < channels;
  const int along = g.in_stride == 1 ? channels - channel : g.outs() - out;
  return load_four(weight, inside ? along : 0, g.vectored_weight);
}

template <class Tile, class T, class Y>
__global__ void __launch_bounds__(Tile::kThreads) conv2d_tiled_kernel(ConvGather<T, Y> g) {
  follow_previous_kernel();
  auto& shared = shared_memory<typename Tile::Shared>();
  const Phase& p = g.phases.phase[blockIdx.z];
  const int64_t outputs = g.n * p.image.value();
  const int tiles_n = static_cast<int>(ceil_div(g.outs(), Tile::kN));
  const int64_t row0 = blockIdx.x / tiles_n * int64_t{Tile::kM};
  const int column0 = static_cast<int>(blockIdx.x % tiles_n) * Tile::kN;
  if (row0 >= outputs) return;  // phases differ in size
  const Phase::Origin origin = p.origin(row0);
  const int t = static_cast<int>(threadIdx.x);

  Phase::Place place[Tile::kFetchA];
#pragma unroll
  for (int i = 0; i < Tile::kFetchA; ++i) {
    place[i] = p.place(origin, (t + i * Tile::kThreads) / 2);
    if (row0 + (t + i * Tile::kThreads) / 2 >= outputs) place[i].y = -p.y.limit - 2;  // no tap
  }

  const bool along_inner = g.in_stride == 1;
  Vector<float, 4> a[Tile::kFetchA], b[Tile::kFetchB];
  TapWalk walk;
  // Where in the tile of b this thread's vector lies.
  const auto inner_of = [&](int v) { return along_inner ? v % 2 * 4 : v / (Tile::kN / 4); };
  const auto outer_of = [&](int v) { return along_inner ? v / 2 : v % (Tile::kN / 4) * 4; };
  const auto fetch = [&] {
#pragma unroll
    for (int i = 0; i < Tile::kFetchA; ++i)
      if (t + i * Tile::kThreads < Tile::kVectorsA)
        a[i] = fetch_patch(g, p, place[i], walk, t % 2 * 4);
#pragma unroll
    for (int i = 0; i < Tile::kFetchB; ++i) {
      const int v = t + i * Tile::kThreads;
      if (v < Tile::kVectorsB) b[i] = fetch_weight(g, p, walk, column0 + outer_of(v), inner_of(v));
    }
    walk.advance(g, p, Tile::kStep);
  };
  const auto put = [&](int stage) {
#pragma unroll
    for (int i = 0; i < Tile::kFetchA; ++i) {
      const int v = t + i * Tile::kThreads;
      if (v >= Tile::kVectorsA) break;
#pragma unroll
      for (int j = 0; j < 4; ++j) shared.a[stage][v % 2 * 4 + j][v / 2] = a[i][j];
    }
#pragma unroll
    for (int i = 0; i < Tile::kFetchB; ++i) {
      const int v = t + i * Tile::kThreads;
      if (v >= Tile::kVectorsB) break;
      if (along_inner) {
#pragma unroll
        for (int j = 0; j < 4; ++j) shared.b[stage][inner_of(v) + j][outer_of(v)] = b[i][j];
      } else {
        store_shared(&shared.b[stage][inner_of(v)][outer_of(v)], b[i]);
      }
    }
  };

  Tile tile;
  const int64_t steps = TapWalk::steps(g, p, Tile::kStep);
  if (steps > 0) {
    fetch();
    put(0);
  }
  __syncthreads();
  for (int64_t step = 0; step < steps; ++step) {
    const int now = static_cast<int>(step % 2);
    const bool more = step + 1 < steps;
    if (more) fetch();
    tile.multiply(shared.a[now], shared.b[now]);
    if (more) put(1 - now);
    __syncthreads();
  }

#pragma unroll
  for (int r = 0; r < Tile::kEachM; ++r) {
    const int row = Tile::row() + r / Tile::kWidthM * Tile::kApartM + r % Tile::kWidthM;
    if (row0 + row >= outputs) continue;
    const int64_t pixel = g.pixel(p, p.place(origin, row));
#pragma unroll
    for (int run = 0; run < Tile::kRunsN; ++run) {
      const int channel = column0 + Tile::column() + run * Tile::kApartN;
      float x[Tile::kWidthN];
#pragma unroll
      for (int i = 0; i < Tile::kWidthN; ++i) x[i] = tile.sum[r][run * Tile::kWidthN + i];
      if (channel < g.outs()) g.write(pixel, channel, x);
    }
  }
}

template <class Tile, class T, class Y>
void launch_tile(const ConvGather<T, Y>& g, Stream stream) {
  const int64_t tiles =
      ceil_div(g.outputs(0), Tile::kM) * ceil_div(g.outs(), Tile::kN);  // phase 0 is the largest
  launch<conv2d_tiled_kernel<Tile, T, Y>>(
      dim3(static_cast<unsigned>(tiles), 1, static_cast<unsigned>(g.phases.count)), Tile::kThreads,
      sizeof(typename Tile::Shared), stream, g);
}

// The widest tile that the channels fill, unless it would leave multiprocessors idle.
template <class T, class Y>
void run(const ConvGather<T, Y>& g, Stream stream) {
  if (conv2d_narrow_supports(g)) return conv2d_narrow(g, stream);
  const auto enough = [&](int m, int n) {
    return ceil_div(g.outputs(0), m) * ceil_div(g.outs(), n) * g.phases.count >= multiprocessors();
  };
  if (g.outs() > 64 && enough(128, 128)) return launch_tile<ConvTile<128, 128, 8, 8>>(g, stream);
  if (g.outs() > 32 && enough(128, 64)) return launch_tile<ConvTile<128, 64, 8, 8>>(g, stream);
  if (enough(128, 32)) return launch_tile<ConvTile<128, 32, 8, 4>>(g, stream);
  launch_tile<ConvTile<32, 32, 4, 2>>(g, stream);
}

}  // namespace

template <class T, class Y>
void conv2d_tiled(const BasicConv2dArgs<T, Y>& args, Stream stream) {
  run(gather(args), stream);
}
template <class T, class Y>
void conv2d_backward_input_tiled(const BasicConv2dBackwardInputArgs<T, Y>& args, Stream stream) {
  run(gather(args), stream);
}
template void conv2d_tiled(const BasicConv2dArgs<float>&, Stream);
template void conv2d_tiled(const BasicConv2dArgs<bf16>&, Stream);
template void conv2d_tiled(const BasicConv2dArgs<float, bf16>&, Stream);
template void conv2d_tiled(const BasicConv2dArgs<bf16, float>&, Stream);
template void conv2d_backward_input_tiled(const BasicConv2dBackwardInputArgs<float>&, Stream);
template void conv2d_backward_input_tiled(const BasicConv2dBackwardInputArgs<bf16>&, Stream);
template void conv2d_backward_input_tiled(const BasicConv2dBackwardInputArgs<float, bf16>&, Stream);
template void conv2d_backward_input_tiled(const BasicConv2dBackwardInputArgs<bf16, float>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
