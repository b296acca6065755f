// Convolution and backward to input, the tensor-core rung for 3x3 filters that move by one pixel:
// nine views of one strip of the image.
//
// Read tap by tap, as in conv2d_mma.cu, the image crosses from L2 to shared memory nine times; at
// 32 or 64 channels that traffic, not the tensor cores, sets the pace. But a block's kM output
// pixels are neighbours in memory, and so is what they read: with pixels numbered through the whole
// batch, output m reads pixels m + dy * w + dx, dy and dx from -1 to 1, which lie between
// m - w - 1 and m + w + 1. So a block copies the strip of kM + 2 w + 2 pixels once for each
// 32 channels, and the taps only change where ldmatrix reads:
//
//   pixels of the batch   ...|--w+1--|------ kM outputs ------|--w+1--|...
//   tap (-1,-1)              |=============== kM ===============|
//   tap ( 0, 0)                      |=============== kM ===============|
//   tap (+1,+1)                              |=============== kM ===============|
//
// ldmatrix takes an address from each lane, one per row of a fragment: a lane whose pixel has no
// such neighbour (the filter hangs over the image's edge, and the address would be in the next row
// or image) points at zeros instead, those in the same banks. An enlarged image's phases
// (conv2d_enlarged.h) are tiles of their own, with four taps and a strip of kM + w + 1 pixels.
//
// A block has several tiles where there are more than fit at once: while it finishes one, the strip
// of the next arrives, so that the way from memory is hidden at 32 channels, too, where a tile is
// one strip.
//
// A step is one tap of 32 channels. The taps are unrolled, so that what a tap means (where it
// reads, which stage of the weights' ring is its own, which rows have it) is known to the compiler:
// such a kernel is as fast as its warps can issue instructions, and what is not ldmatrix or mma is
// in the way. Weights come ahead, two steps into a ring of three stages or, in small tiles, eight
// into one of nine (of four taps, three into one of four); the strips of successive channels
// alternate between two buffers, and a part of the next strip is copied at every tap. Rows of a
// strip are 64 bytes: its four 16-byte chunks are permuted (XOR with the row number) so that the
// eight rows of a matrix meet all banks, which saves the padding and lets more blocks share a
// multiprocessor.
//
// Since a block reads its source once, it can also make it what group norm and SiLU would have
// made of it (NormalisedConv2dArgs in kernels/conv2d.h): each thread, in place, the chunks that it
// has copied itself, before the barrier that shows them to the others. The shortcut of a residual
// block, a 1x1 filter over another image, is added to the sums of the taps.
#include <algorithm>

#include "kernels/cuda/conv2d_strip_copy.h"
#include "kernels/cuda/conv2d_strip_shortcut.h"
#include "kernels/cuda/device/occupancy.h"
#include "kernels/cuda/device/wgmma.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

// Blocks that a multiprocessor is to hold: with 128 registers a thread, 512 threads fill its
// register file; five small blocks with 102. The shared memory of an A100 has room for 384.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
template <class S>
[[maybe_unused]] constexpr int kBlocks = 384 / S::Tile::kThreads;
#else
template <class S>
[[maybe_unused]] constexpr int kBlocks = S::Tile::kTilesM == 1 ? 5 : 512 / S::Tile::kThreads;
#endif

// What is added in the end is on its way meanwhile.
template <class S>
__device__ void prefetch_residual(const ConvGather<bf16>& g, const TileAt<S>& at) {
  using Tile = typename S::Tile;
  constexpr int kSector = kSectorBytes / sizeof(bf16), kInRow = Tile::kColumnsN / kSector;
  constexpr int kApart = Tile::kThreads / kInRow;  // rows of a thread
  const int t = static_cast<int>(threadIdx.x), column = at.column + t % kInRow * kSector;
  const int rows = column < g.k0 ? std::min(int{Tile::kRowsM}, outputs_of(g) - at.row) : 0;
  const bf16* from = g.residual + (int64_t{at.row + t / kInRow} * g.k0 + column);
#pragma unroll 1
  for (int row = t / kInRow; row < rows; row += kApart, from += kApart * g.k0) prefetch_l2(from);
}

// A block has every gridDim.x-th of the tiles.
template <class S>
__global__ void __launch_bounds__(S::Tile::kThreads, kBlocks<S>)
    conv2d_mma_strip_kernel(ConvGather<bf16> g, [[maybe_unused]] const float* coefficients,
                            [[maybe_unused]] ConvShortcut shortcut, StripTiles tiles) {
  follow_previous_kernel();
  using Tile = typename S::Tile;
  auto& staged = shared_memory<typename S::Shared>();
  const Phase& p = g.phases.phase[0];
  const int n = static_cast<int>(g.n);
  const int t = static_cast<int>(threadIdx.x);

  // The source's channels in groups of 32: those of x0, then those of x1.
  const int groups0 = static_cast<int>(ceil_div(g.c0, Tile::kStep));
  const int groups = groups0 + static_cast<int>(ceil_div(g.c1, Tile::kStep));
  const auto strip_of = [&](int index) { return Strip<S>(g, TileAt<S>(tiles, index)); };
  StripCopy<S> copy;
  WeightCopy<S> weights;
  const auto aim = [&](auto to, int group) {
    const bool second = group >= groups0;
    to((second ? group - groups0 : group) * Tile::kStep, second);
  };
  const auto aim_strip = [&](int index, int group) {
    aim(
        [&](int first, bool second) {
          copy.aim(strip_of(index), second ? g.x1 : g.x0, n * g.h * g.w, second ? g.c1 : g.c0,
                   first);
        },
        group);
  };
  const auto aim_weights = [&](int index, int group) {
    aim([&](int first, bool second) { weights.aim(g, TileAt<S>(tiles, index), first, second); },
        group);
  };

  auto* strips = reinterpret_cast<unsigned char*>(staged.strip);
  const SharedAddress strips_at = shared_address_of(strips);
  int index = static_cast<int>(blockIdx.x);
  aim_strip(index, 0);
  copy.start(strips_at, g.c0, 0, S::kCopies);
  aim_weights(index, 0);
#pragma unroll
  for (int tap = 0; tap < S::kAhead; ++tap) {
    weights.start(g, staged.weight[tap]);
    async_copy_commit();
  }
  if (t < S::kZeros) staged.zeros[t] = bf16{0};

  constexpr int kBufferBytes = sizeof(typename S::Buffer);
  const auto strip_at = [&](int bytes) -> auto& {
    return *reinterpret_cast<typename S::Buffer*>(strips + bytes);
  };
  int buffer = 0;  // where the strip is that is read
#pragma unroll 1
  for (; index < tiles.count; index += static_cast<int>(gridDim.x)) {
    if constexpr (S::kShortcut) {
      prefetch_shortcut<S>(g, shortcut, TileAt<S>(tiles, index));
    } else if constexpr (!S::kEnlarged && !S::kBackward) {
      if (g.residual) prefetch_residual<S>(g, TileAt<S>(tiles, index));
    }
    Rows<S> rows(p, TileAt<S>(tiles, index), strip_of(index).first);
    Tile tile;
#pragma unroll 1
    for (int group = 0; group < groups; ++group, buffer = kBufferBytes - buffer) {
      // What comes next, of this tile or of the block's next one.
      const bool last = group + 1 == groups;
      const int next = last ? index + static_cast<int>(gridDim.x) : index;
      const int next_group = last ? 0 : group + 1;
      const bool more = next < tiles.count;
      if constexpr (S::kNormalised) {
        async_copy_wait<S::kAhead - 1>();
        aim(
            [&](int first, bool second) {
              const int channel = first + StripCopy<S>::chunk() * 8;
              if (channel < (second ? g.c1 : g.c0))
                normalise<S>(strip_at(buffer), strip_of(index), p.image, n * g.h * g.w,
                             coefficients, channel + (second ? g.c0 : 0), g.channels());
            },
            group);
      }
      if (more) aim_strip(next, next_group);
      rows.change(g.c1);
#pragma unroll
      for (int tap = 0; tap < S::kTaps; ++tap) {
        // This step's copies have arrived; and everyone is done with the step before, whose stage
        // is filled next, and with the strip before this one.
        async_copy_wait<S::kAhead - 1>();
        __syncthreads();
        if (tap + S::kAhead == S::kTaps && more) {
          forget_origin(group);  // what follows from it need not be kept until here
          aim_weights(next, next_group);
        }
        if (tap + S::kAhead < S::kTaps || more)
          weights.start(g, staged.weight[(tap + S::kAhead) % S::kStages]);
        if (more)
          copy.start(strips_at + (kBufferBytes - buffer), next_group < groups0 ? g.c0 : g.c1,
                     tap * S::kCopiesAtTap, (tap + 1) * S::kCopiesAtTap);
        async_copy_commit();

        SharedAddress at[Tile::kTilesM];
        rows.places(at, tap, g.w, strips_at, buffer);
#pragma unroll
        for (int inner = 0; inner < Tile::kStep; inner += 16) {
          uint32_t a[Tile::kTilesM][4];
          Rows<S>::load(a, at, inner / 8);
#pragma unroll
          for (int j = 0; j < Tile::kTilesN; j += 2) {
            uint32_t b[4];
            Tile::load_b(b, staged.weight[tap % S::kStages], Tile::column() + 8 * j, inner);
#pragma unroll
            for (int i = 0; i < Tile::kTilesM; ++i) {
              mma_m16n8k16(tile.sum[i][j], a[i], {b[0], b[1]});
              mma_m16n8k16(tile.sum[i][j + 1], a[i], {b[2], b[3]});
            }
          }
        }
      }
    }
    const TileAt<S> at(tiles, index);
    if constexpr (S::kShortcut) add_shortcut<S>(tile, g, shortcut, at);
    // Results go out by way of the strip that all have read now, while the next one arrives.
    __syncthreads();
    const int outputs = outputs_of(g);
    int lane = Tile::lane();
    if constexpr (S::kBackward) forget_origin(lane);  // what follows from it was kept all the time
    tile.template each_run<kVector<bf16>>(
        reinterpret_cast<typename S::Out&>(strip_at(kBufferBytes - buffer)),
        [&](int row, int column, const auto& sums) {
          if (at.row + row < outputs && at.column + column < g.k0 + g.k1)
            g.write(at.pixel(g, row), at.column + column, sums);
        },
        lane);
  }
}

// What only a normalised convolution has.
struct Normalisation {
  const float* coefficients = nullptr;
  ConvShortcut shortcut = {};
};

template <class S>
void launch_tiles(const ConvGather<bf16>& g, const Normalisation& norm, Stream stream) {
  using Tile = typename S::Tile;
  const StripTiles tiles{Divisor(ceil_div(g.outs(), Tile::kColumnsN)),
                         static_cast<int>(tiles_of(g, Tile::kRowsM, Tile::kColumnsN))};
  constexpr auto kernel = conv2d_mma_strip_kernel<S>;
  constexpr size_t kShared = sizeof(typename S::Shared);
  const int at_once = blocks_at_once<kernel>(Tile::kThreads, kShared);
  launch<kernel>(static_cast<unsigned>(std::min(tiles.count, at_once)), Tile::kThreads, kShared,
                 stream, g, norm.coefficients, norm.shortcut, tiles);
}

template <int kM, int kN, int kWarpM, int kWarpN, bool only_plain = false>
void launch_tile(const ConvGather<bf16>& g, bool backward, const Normalisation& norm,
                 Stream stream) {
  const auto run = [&]<bool backward_, bool enlarged, bool normalised = false, bool cut = false>() {
    launch_tiles<StripTile<kM, kN, kWarpM, kWarpN, backward_, enlarged, normalised, cut>>(g, norm,
                                                                                          stream);
  };
  if constexpr (!only_plain) {
    if (norm.shortcut.x0) return run.template operator()<false, false, true, true>();
    if (norm.coefficients) return run.template operator()<false, false, true>();
    if (in_phases(g)) return run.template operator()<false, true>();
  }
  if (backward) return run.template operator()<true, false>();
  run.template operator()<false, false>();
}

// Output pixels that the busiest multiprocessor makes of each 64 channels, in tiles of m pixels.
int64_t most_pixels(const ConvGather<bf16>& g, int m) {
  return ceil_div(tiles_of(g, m, 64), multiprocessors()) * m;
}

// Tall tiles read the filter for more pixels, but the last of a multiprocessor may be for few. A
// thousand images of 3x3 pixels and 128 channels are a tile of 144 for each.
void run(const ConvGather<bf16>& g, bool backward, const Normalisation& norm, Stream stream) {
  if (g.outs() <= 32) {
    if (enough_tiles(g, 256, 32)) return launch_tile<256, 32, 64, 32>(g, backward, norm, stream);
  } else if (enough_tiles(g, 128, 64)) {
    const int64_t pixels = most_pixels(g, 128);
    if (!norm.coefficients && !in_phases(g) && most_pixels(g, 144) < pixels)
      return launch_tile<144, 64, 48, 32, true>(g, backward, norm, stream);
    if (has_wgmma() && most_pixels(g, 256) <= pixels)  // an A100's registers are too few for them
      return launch_tile<256, 64, 64, 32>(g, backward, norm, stream);
    return launch_tile<128, 64, 64, 32>(g, backward, norm, stream);
  }
  launch_tile<64, 32, 16, 32>(g, backward, norm, stream);
}

}  // namespace

bool conv2d_strip_supports(const ConvGather<bf16>& g) {
  const Axis& y = g.phases.phase[0].y;
  const bool plain =
      g.phases.count == 1 && y.taps == 3 && y.period == 3 && y.scale == 1 && y.halvings == 0;
  return (plain || in_phases(g)) && g.w <= kStripWidth && g.outputs(0) <= kStripOutputs;
}

void conv2d_strip(const ConvGather<bf16>& g, bool backward, Stream stream) {
  run(g, backward, {}, stream);
}

void conv2d_strip_normalised(const ConvGather<bf16>& g, const float* coefficients,
                             const ConvShortcut& shortcut, Stream stream) {
  run(g, false, {coefficients, shortcut}, stream);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
