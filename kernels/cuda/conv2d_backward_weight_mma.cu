// Weight gradient of the convolution, the tensor-core rung: bf16 inputs, f32 sums and result.
//
// A block computes a tile of dweight, output channels by filter columns (r, s, c), over one slice
// of the pixels (conv2d_backward_weight.h). A step takes 32 pixels: 32 rows of dy and 32 rows of
// the patches, each row a run of channels, go to shared memory as they lie in device memory, in
// chunks of 16 bytes by cp.async; a chunk is eight channels of one tap, and where the filter hangs
// over the edge it is filled with zeros. mma wants both operands with the pixel as the fast index:
// ldmatrix transposes both on the way to registers (mma_tile.h).
//
// The bias gradient is dy's sum over the pixels. In the tiles of the first columns, warps that have
// the same rows of dy share them out and add them up from their fragments.
//
// Every tap reads the image again, nine times in all for a 3x3 filter, but from the L2 cache: the
// tiles of one slice run at the same time. Where an output pixel lies and which of its neighbours
// exist is worked out once, by one warp, and waits in shared memory for the threads that copy.
#include "kernels/cuda/conv2d_backward_weight.h"
#include "kernels/cuda/mma_tile.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int64_t kWarpsWanted = 2112;  // sixteen for each multiprocessor of a large GPU

// An output pixel of a slice: the stored pixel under the filter's centre, counted from the slice's
// first image, and which taps exist: bits 0 to 8, whatever the filter. In an enlarged image, also
// whether the centre is the second row or column that its stored pixel stands for.
struct Site {
  int centre;
  unsigned taps;
};
constexpr unsigned kOddRow = 1 << 9, kOddColumn = 1 << 10;

__device__ inline Site site(const PatchView<bf16>& view, const PatchView<bf16>::Slice& slice,
                            int i) {
  const auto at = view.pixel(slice, i);
  const unsigned rows = (at.h > 0 ? 0007 : 0u) | 0070 | (at.h + 1 < view.in_h ? 0700 : 0u);
  const unsigned columns = (at.w > 0 ? 0111 : 0u) | 0222 | (at.w + 1 < view.in_w ? 0444 : 0u);
  Site found{(at.rows + (at.h >> view.upsample)) * view.w + (at.w >> view.upsample),
             i < slice.pixels ? rows & columns : 0};
  if (at.h & view.upsample) found.taps |= kOddRow;
  if (at.w & view.upsample) found.taps |= kOddColumn;
  return found;
}

template <class Tile>
struct WeightShared {
  // A ring: the sites of the steps whose copies are under way and of the one after them.
  static constexpr int kSites = (Tile::kStages + 1) * Tile::kStep;
  typename Tile::Shared tile;
  Site site[kSites];
};

template <class Tile, bool kEnlarged>
__global__ void __launch_bounds__(Tile::kThreads)
    conv2d_backward_weight_mma_kernel(PatchView<bf16> view, const bf16* dy, int k, Split split,
                                      float* out, float* dbias, bool vectored_out) {
  follow_previous_kernel();
  using Shared = WeightShared<Tile>;
  constexpr int kBytes = sizeof(bf16);
  auto& shared = shared_memory<Shared>();
  const int columns = static_cast<int>(view.columns), t = static_cast<int>(threadIdx.x);
  const int tiles_n = static_cast<int>(ceil_div(columns, Tile::kColumnsN));
  const auto row0_of = [&](int block) { return block / tiles_n * Tile::kRowsM; };
  const auto column0_of = [&](int block) { return block % tiles_n * Tile::kColumnsN; };
  int block = static_cast<int>(blockIdx.x);
  const auto slice = view.slice(split, blockIdx.z);
  const auto patch = view.column(slice, column0_of(block) + t % Tile::B::kChunks * 8);
  const int channel = row0_of(block) + t % Tile::A::kChunks * 8;
  const bf16* const first_dy = dy + slice.begin * k + channel;

  // The sixteen rows of dy that this warp sums for the bias; the lane's part of rows l / 4 and
  // l / 4 + 8.
  static_assert(Tile::kTilesM <= Tile::kWarpsN);
  const int dy_rows =
      dbias && column0_of(block) == 0 ? Tile::warp() % Tile::kWarpsN : Tile::kTilesM;
  float dy_sum[2] = {};
  const auto add_dy = [&](int i, const uint32_t(&a)[4]) {
    if (i != dy_rows) return;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const auto pair = std::bit_cast<Vector<bf16, 2>>(a[j]);
      dy_sum[j % 2] += to_float(pair[0]) + to_float(pair[1]);
    }
  };

  // Sites of the first steps, whose copies no barrier parts; then, with a step's copies, those of
  // the step after it.
  constexpr int kFirstSites = Tile::kStages * Tile::kStep;
  static_assert(kFirstSites <= Tile::kThreads);
  if (t < kFirstSites) shared.site[t] = site(view, slice, t);
  __syncthreads();
  // Bit of the thread's tap, or one that no site has; how far its chunk is from the centre.
  const bool within = patch.dh >= -1;
  const int dh = within ? patch.dh : 0, dw = patch.dw, shift = dh * view.w + dw;
  const int tap = within ? (dh + 1) * 3 + dw + 1 : 31;

  Tile tile;
  const auto copy = [&](auto& stage, int step) {
    const int first = step * Tile::kStep;
    if (step >= Tile::kStages - 1 && t < Tile::kStep)
      shared.site[(first + Tile::kStep + t) % Shared::kSites] =
          site(view, slice, first + Tile::kStep + t);
    const Site* sites = &shared.site[first % Shared::kSites];
    stage.a.template each_chunk<Tile::kThreads>([&](bf16* to, int row, int) {
      const int i = first + row;
      async_copy_16(to, rows_further(first_dy, i, k * kBytes), (i < slice.pixels) & (channel < k));
    });
    stage.b.template each_chunk<Tile::kThreads>([&](bf16* to, int row, int) {
      const Site at = sites[row];
      int pixel = at.centre + shift;
      if (kEnlarged)
        pixel = at.centre + (((at.taps & kOddRow ? 1 : 0) + dh) >> 1) * view.w +
                (((at.taps & kOddColumn ? 1 : 0) + dw) >> 1);
      async_copy_16(to, rows_further(patch.x, pixel, patch.channels * kBytes), at.taps >> tap & 1);
    });
  };
  tile.accumulate(shared.tile, static_cast<int>(ceil_div(slice.pixels, Tile::kStep)), copy, add_dy);

  forget_origin(block);  // rather than keep the tile's place during the loop
  const int row0 = row0_of(block), column0 = column0_of(block);
  // Slices lie one after the other, each of k rows of weights and, if it has them, k sums of dy.
  const int64_t begin = blockIdx.z * (static_cast<int64_t>(k) * columns + (dbias ? k : 0));
  if (dy_rows < Tile::kTilesM) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float x = dy_sum[half];
      x += __shfl_xor_sync(kFullMask, x, 1);
      x += __shfl_xor_sync(kFullMask, x, 2);
      const int row = row0 + Tile::row() + 16 * dy_rows + 8 * half + Tile::lane() / 4;
      if (Tile::lane() % 4 == 0 && row < k) dbias[begin + row] = x;
    }
  }

  tile.template each_run<kVector<float>>(shared.tile, [&](int r, int column, const auto& sums) {
    const int row = row0 + r;
    column += column0;
    if (row >= k || column >= columns) return;
    write_run<kVector<float>, float>(sums, column, columns, nullptr, nullptr,
                                     out + begin + static_cast<int64_t>(row) * columns + column,
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
  sum_over_pixels(args, tiles, kWarpsWanted / Tile::kWarps, stream, args.dbias,
                  [&](const Split& split, float* out, float* dbias) {
                    const dim3 grid(static_cast<unsigned>(tiles), 1,
                                    static_cast<unsigned>(split.slices));
                    const auto run = [&]<bool enlarged>() {
                      launch<conv2d_backward_weight_mma_kernel<Tile, enlarged>>(
                          grid, Tile::kThreads, sizeof(WeightShared<Tile>), stream, view, args.dy,
                          static_cast<int>(s.k), split, out, dbias, vectored_out);
                    };
                    s.upsample ? run.template operator()<true>() : run.template operator()<false>();
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
