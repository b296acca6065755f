// Weight gradient of the convolution, the tensor-core rung: bf16 inputs, f32 sums and result.
//
// A block computes a tile of dweight, output channels by filter columns (r, s, c), over one slice
// of the pixels (conv2d_backward_weight.h). A step takes 32 pixels: 32 rows of dy and 32 rows of
// the patches, each row a run of channels, go to shared memory as they lie in device memory, in
// chunks of 16 bytes by cp.async; a chunk is eight channels of one tap, and where the filter hangs
// over the edge it is filled with zeros. mma wants both operands with the pixel as the fast index:
// ldmatrix transposes both on the way to registers (mma_tile.h).
//
// Every tap reads the image again, nine times in all for a 3x3 filter, but from the L2 cache: the
// tiles of one slice run at the same time.
#include "kernels/cuda/conv2d_backward_weight.h"
#include "kernels/cuda/mma_tile.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int64_t kWarpsWanted = 2112;  // sixteen for each multiprocessor of a large GPU

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads)
    conv2d_backward_weight_mma_kernel(PatchView<bf16> view, const bf16* dy, int64_t k, Split split,
                                      float* out, bool vectored_out) {
  auto& shared = shared_memory<typename Tile::Shared>();
  const int64_t tiles_n = ceil_div(view.columns, Tile::kColumnsN);
  const int64_t row0 = blockIdx.x / tiles_n * Tile::kRowsM;
  const int64_t column0 = blockIdx.x % tiles_n * Tile::kColumnsN;
  const auto slice = view.slice(split, blockIdx.z);
  const auto patch = view.column(slice, column0 + threadIdx.x % Tile::B::kChunks * 8);
  const int64_t channel = row0 + threadIdx.x % Tile::A::kChunks * 8;
  const bf16* const first_dy = dy + slice.begin * k + (channel < k ? channel : 0);

  Tile tile;
  tile.accumulate(shared, ceil_div(slice.pixels, Tile::kStep), [&](auto& stage, int64_t step) {
    const int first = static_cast<int>(step) * Tile::kStep;
    stage.a.template each_chunk<Tile::kThreads>([&](bf16* to, int row, int) {
      const int i = first + row;
      const bool exists = (i < slice.pixels) & (channel < k);
      async_copy_16(to, first_dy + (exists ? i : 0) * k, exists);
    });
    stage.b.template each_chunk<Tile::kThreads>([&](bf16* to, int row, int) {
      const int i = first + row;
      const auto element = view.find(view.pixel(slice, i), patch);
      async_copy_16(to, element.p, element.exists & (i < slice.pixels));
    });
  });

  tile.template each_run<kVector<float>>(shared, [&](int r, int column, const auto& sums) {
    const int64_t row = row0 + r;
    if (row >= k || column0 + column >= view.columns) return;
    write_run<kVector<float>, float>(sums, column0 + column, view.columns, nullptr, nullptr,
                                     out + (blockIdx.z * k + row) * view.columns + column0 + column,
                                     vectored_out);
  });
}

template <int kM, int kN, int kWarpM, int kWarpN>
void run_tile(const BasicConv2dBackwardWeightArgs<bf16>& args, Stream stream) {
  using Tile = MmaTile<kM, kN, kWarpM, kWarpN, false, false>;
  const ConvShape& s = args.shape;
  const PatchView<bf16> view(args);
  const int64_t tiles = ceil_div(s.k, kM) * ceil_div(view.columns, kN);
  const bool vectored_out = aligned16(args.dweight);  // there are 8 n columns
  sum_over_pixels(args, tiles, kWarpsWanted / Tile::kWarps, stream,
                  [&](const Split& split, float* out) {
                    launch<conv2d_backward_weight_mma_kernel<Tile>>(
                        dim3(static_cast<unsigned>(tiles), 1, static_cast<unsigned>(split.slices)),
                        Tile::kThreads, sizeof(typename Tile::Shared), stream, view, args.dy, s.k,
                        split, out, vectored_out);
                  });
}

}  // namespace

void conv2d_backward_weight_mma(const BasicConv2dBackwardWeightArgs<bf16>& args, Stream stream) {
  // 96 divides the columns of a 3x3 filter over 32 n channels; larger tiles need less traffic.
  const int64_t k = args.shape.k;
  if (k <= 32) return run_tile<32, 96, 32, 32>(args, stream);
  if (k <= 64) return run_tile<64, 128, 32, 64>(args, stream);
  run_tile<128, 128, 64, 32>(args, stream);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
