// Weight gradient of the convolution, the tiled rung: any shape, f32 arithmetic.
//
// A block computes a square tile of dweight, output channels by filter columns (r, s, c), over one
// slice of the pixels (conv2d_backward_weight.h), with the sums in registers (register_tile.h). A
// thread always copies the same column of the patches, so it works out r, s and c once; each step
// it only finds the next pixel, two divisions by constants of the launch, done as multiplications.
// Channels that are no multiple of four (the image itself has one or three) make a vector straddle
// filter taps: there every element is found by itself.
//
// A few output channels (the last layer has as many as the image) would leave most of a tile empty;
// conv2d_backward_weight_thin.cu is for them.
#include "kernels/cuda/conv2d_backward_weight.h"
#include "kernels/cuda/register_tile.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int64_t kBlocksWanted = 512;

template <int kTile, bool kVectored, class T>
__global__ void __launch_bounds__(kTileThreads, kTile == 128 ? 1 : 2)
    conv2d_backward_weight_tiled_kernel(PatchView<T> view, const T* dy, int64_t k, Split split,
                                        float* out, bool vectored_dy, bool vectored_out) {
  follow_previous_kernel();
  using Tile = RegisterTile<kTile>;
  auto& shared = shared_memory<typename Tile::Shared>();
  const int64_t tiles_n = ceil_div(view.columns, kTile);
  const int64_t row0 = blockIdx.x / tiles_n * kTile, column0 = blockIdx.x % tiles_n * kTile;
  const auto slice = view.slice(split, blockIdx.z);

  Tile tile;
  const typename Tile::Place place(false);
  const int64_t channel = row0 + place.outer;
  const T* const first_dy = dy + slice.begin * k + channel;
  const FourColumns<T, kVectored> columns(view, slice, column0 + place.outer);
  tile.accumulate(
      shared, ceil_div(slice.pixels, Tile::kStep), place,
      [&](int64_t step) {
        const int i = static_cast<int>(step) * Tile::kStep + place.inner;
        return load_four(first_dy + i * k, i < slice.pixels ? k - channel : 0, vectored_dy);
      },
      place,
      [&](int64_t step) {
        const int i = static_cast<int>(step) * Tile::kStep + place.inner;
        return i < slice.pixels ? columns.fetch(view, view.pixel(slice, i)) : Vector<float, 4>{};
      });

  tile.each_run([&](int r, int column, const auto& sums) {
    const int64_t row = row0 + r;
    if (row >= k) return;
    write_run<Tile::kWidth, float>(sums, column0 + column, view.columns, nullptr, nullptr,
                                   out + (blockIdx.z * k + row) * view.columns + column0 + column,
                                   vectored_out);
  });
}

template <int kTile, bool kVectored, class T>
void run_tile(const BasicConv2dBackwardWeightArgs<T>& args, Stream stream) {
  const ConvShape& s = args.shape;
  const PatchView<T> view(args);
  const int64_t tiles = ceil_div(s.k, kTile) * ceil_div(view.columns, kTile);
  const bool vectored_dy = aligned16(args.dy) && s.k % 4 == 0;
  const bool vectored_out = aligned16(args.dweight) && view.columns % 4 == 0;
  sum_over_pixels(args, tiles, kBlocksWanted, stream, nullptr,
                  [&](const Split& split, float* out, float*) {
                    launch<conv2d_backward_weight_tiled_kernel<kTile, kVectored, T>>(
                        dim3(static_cast<unsigned>(tiles), 1, static_cast<unsigned>(split.slices)),
                        kTileThreads, sizeof(typename RegisterTile<kTile>::Shared), stream, view,
                        args.dy, s.k, split, out, vectored_dy, vectored_out);
                  });
}

// The largest tile that the shorter side of the gradient fills.
template <bool kVectored, class T>
void run_vectored(const BasicConv2dBackwardWeightArgs<T>& args, Stream stream) {
  const int64_t side = std::min(args.shape.k, args.shape.r * args.shape.s * args.shape.c());
  if constexpr (kVectored) {  // four separate columns and 64 sums are too much for the registers
    if (side > 64) return run_tile<128, kVectored>(args, stream);
  }
  if (side > 32) return run_tile<64, kVectored>(args, stream);
  run_tile<32, kVectored>(args, stream);
}

}  // namespace

template <class T>
void conv2d_backward_weight_tiled(const BasicConv2dBackwardWeightArgs<T>& args, Stream stream) {
  const ConvShape& s = args.shape;
  if (s.k <= kThinChannels) return conv2d_backward_weight_thin(args, stream);
  if (patches_vectored(args))
    run_vectored<true>(args, stream);
  else
    run_vectored<false>(args, stream);
}
template void conv2d_backward_weight_tiled(const BasicConv2dBackwardWeightArgs<float>&, Stream);
template void conv2d_backward_weight_tiled(const BasicConv2dBackwardWeightArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
