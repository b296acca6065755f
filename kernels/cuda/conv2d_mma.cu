// Convolution and backward to input, the tensor-core rung: bf16, channels in multiples of 8.
//
// The same implicit matrix product as the tiled rung (conv2d_gather.h), with the machinery of
// mma_tile.h: a step is one tap and 32 source channels. cp.async brings, for each of the tile's
// output pixels, the 64 bytes that this tap reads of the image (or zeros, outside), and 32 channels
// of the filter; ldmatrix and mma.sync do the rest, two steps behind. The epilogue passes the sums
// through shared memory, adds bias and residual, and stores 16 bytes at a time.
//
// This kernel takes every shape, and each pixel of the image is read once per tap. Where the filter
// is 3x3 and moves by single pixels, which is nearly all of a U-Net, conv2d_mma_strip.cu reads it
// once for all nine. Of an enlarged image's filter, taps that meet the same pixel are added up
// (conv2d_enlarged.h).
#include "kernels/cuda/conv2d_enlarged.h"
#include "kernels/cuda/conv2d_mma.h"
#include "kernels/cuda/conv2d_rungs.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads) conv2d_mma_kernel(ConvGather<bf16> g) {
  follow_previous_kernel();
  auto& shared = shared_memory<typename Tile::Shared>();
  const Phase& p = g.phases.phase[blockIdx.z];
  const int64_t outputs = g.n * p.image.value();
  const int tiles_n = static_cast<int>(ceil_div(g.outs(), Tile::kColumnsN));
  const int64_t row0 = blockIdx.x / tiles_n * int64_t{Tile::kRowsM};
  const int column0 = static_cast<int>(blockIdx.x % tiles_n) * Tile::kColumnsN;
  if (row0 >= outputs) return;  // phases differ in size
  const Phase::Origin origin = p.origin(row0);

  // This thread's rows of the tile. Those past the last output have no taps.
  constexpr int kRowsApart = Tile::kThreads / Tile::A::kChunks;
  constexpr int kRows = Tile::kRowsM / kRowsApart;
  Phase::Place place[kRows];
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int row = static_cast<int>(threadIdx.x) / Tile::A::kChunks + i * kRowsApart;
    place[i] = p.place(origin, row);
    if (row0 + row >= outputs) place[i].y = -p.y.limit - 2;
  }

  Tile tile;
  TapWalk walk;
  tile.accumulate(shared, TapWalk::steps(g, p, Tile::kStep), [&](auto& stage, int64_t) {
    const Axis::Tap tap_y = p.y.tap(walk.i), tap_x = p.x.tap(walk.j);
    const int channels = walk.second ? g.c1 : g.c0;
    const bf16* source = walk.second ? g.x1 : g.x0;
    int i = 0;
    stage.a.template each_chunk<Tile::kThreads>([&](bf16* to, int, int column) {
      const Phase::Place& at = place[i++];
      int y, x;
      const bool inside =
          p.y.find(at.y, tap_y, y) & p.x.find(at.x, tap_x, x) & (walk.channel + column < channels);
      const int64_t pixel = (at.n * g.h + y) * g.w + x;
      async_copy_16(to, inside ? source + pixel * channels + walk.channel + column : source,
                    inside);
    });
    copy_weights<Tile::kThreads>(stage.b, g, tap_y.row, tap_x.row, column0, walk.channel,
                                 walk.second);
    walk.advance(g, p, Tile::kStep);
  });

  tile.template each_run<kVector<bf16>>(shared, [&](int row, int column, const auto& sums) {
    if (row0 + row >= outputs || column0 + column >= g.outs()) return;
    const int64_t pixel = p.y.spread == 1 ? row0 + row : g.pixel(p, p.place(origin, row));
    g.write(pixel, column0 + column, sums);
  });
}

template <int kM, int kN, int kWarpM, int kWarpN>
void launch_tile(const ConvGather<bf16>& g, bool backward, Stream stream) {
  const int64_t tiles =
      ceil_div(g.outputs(0), kM) * ceil_div(g.outs(), kN);  // of the largest phase
  const dim3 grid(static_cast<unsigned>(tiles), 1, static_cast<unsigned>(g.phases.count));
  const auto run = [&]<bool weights_along_inner>() {
    using Tile = MmaTile<kM, kN, kWarpM, kWarpN, true, weights_along_inner>;
    launch<conv2d_mma_kernel<Tile>>(grid, Tile::kThreads, sizeof(typename Tile::Shared), stream, g);
  };
  backward ? run.template operator()<false>() : run.template operator()<true>();
}

void run(const ConvGather<bf16>& g, bool backward, Stream stream) {
  if (conv2d_strip_supports(g) && !conv2d_tap_by_tap()) return conv2d_strip(g, backward, stream);
  if (g.outs() > 64 && enough_tiles(g, 128, 128))
    return launch_tile<128, 128, 64, 32>(g, backward, stream);
  if (g.outs() > 32 && enough_tiles(g, 128, 64))
    return launch_tile<128, 64, 64, 32>(g, backward, stream);
  if (g.outs() <= 32 && enough_tiles(g, 128, 32))
    return launch_tile<128, 32, 32, 32>(g, backward, stream);
  launch_tile<64, 32, 16, 32>(g, backward, stream);
}

bool in_eights(const ConvShape& s) {
  return (s.c0 | s.c1 | s.k) % kVector<bf16> == 0;
}

// Weights are counted in 32 bits.
bool sums_taps(const ConvShape& s) {
  return s.upsample && !conv2d_tap_by_tap() && phase_weights(s) < int64_t{1} << 31;
}

// Args are the forward convolution's or those backward to input.
template <class Args>
void run_either_way(const Args& args, bool backward, Stream stream) {
  const ConvShape& s = args.shape;
  if (!sums_taps(s)) return run(gather(args), backward, stream);
  const bf16* packed = args.packed;
  if (packed == nullptr) {
    auto* sums =
        static_cast<bf16*>(workspace(static_cast<size_t>(phase_weights(s)) * sizeof(bf16), stream));
    sum_phase_weights(s, args.weight, sums, stream);
    packed = sums;
  }
  run(gather_phases(args, packed), backward, stream);
}

}  // namespace

bool conv2d_tap_by_tap() {
  return conv_wish() == "taps";
}

bool conv2d_mma_supports(const BasicConv2dArgs<bf16>& a) {
  return in_eights(a.shape) && aligned16(a.x0) && aligned16(a.x1) && aligned16(a.weight) &&
         aligned16(a.packed) && aligned16(a.residual) && aligned16(a.y);
}
void conv2d_mma(const BasicConv2dArgs<bf16>& args, Stream stream) {
  run_either_way(args, false, stream);
}
void conv2d_mma_pack(const BasicConv2dPackArgs<bf16>& args, Stream stream) {
  const ConvShape& s = args.shape;
  if (args.packed)
    sum_phase_weights(s, args.weight, args.packed, stream);
  else
    *args.elements = in_eights(s) && sums_taps(s) ? phase_weights(s) : 0;
}

bool conv2d_normalised_strip_supports(const NormalisedConv2dArgs& a) {
  const ConvShortcut& s = a.shortcut;
  return normalisation_joins(a.conv.shape) && conv2d_mma_supports(a.conv) &&
         aligned16(a.coefficients) && conv2d_strip_supports(gather(a.conv)) &&
         !conv2d_tap_by_tap() && (s.c0 | s.c1) % kVector<bf16> == 0 && aligned16(s.x0) &&
         aligned16(s.x1) && aligned16(s.weight);
}
void conv2d_normalised_strip(const NormalisedConv2dArgs& a, Stream stream) {
  conv2d_strip_normalised(gather(a.conv), a.coefficients, a.shortcut, stream);
}

bool conv2d_backward_input_mma_supports(const BasicConv2dBackwardInputArgs<bf16>& a) {
  return in_eights(a.shape) && aligned16(a.dy) && aligned16(a.weight) && aligned16(a.packed) &&
         aligned16(a.dx0) && aligned16(a.dx1);
}
void conv2d_backward_input_mma(const BasicConv2dBackwardInputArgs<bf16>& args, Stream stream) {
  run_either_way(args, true, stream);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
