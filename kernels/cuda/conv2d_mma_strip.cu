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
// or image) points at a row of zeros instead. Nearest-x2 enlargement only changes the address
// again: the strip holds stored pixels, four outputs read each.
//
// A step is one tap of 32 channels. The weights of a step come through a ring of kStages stages;
// the strips of successive channels alternate between two buffers. Rows of a strip are 64 bytes:
// its four 16-byte chunks are permuted (XOR with the row number) so that the eight rows of a matrix
// meet all banks, which saves the padding and lets more blocks share a multiprocessor.
#include "kernels/cuda/conv2d_mma.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kTaps = 9;
constexpr int kHalo = 2 * kStripWidth + 2;  // pixels

// Where a block's strip begins, counted through the batch's stored pixels (it may be before the
// first), and how many pixels it has.
struct Strip {
  int64_t first;
  int pixels;

  __host__ __device__ static int length(int m, int w, int halvings) {
    if (halvings == 0) return m + 2 * w + 2;
    const int rows = (m - 2) / (2 * w) + 1;  // between the first and the last, of the large image
    return ((rows + 3) / 2 + 1) * w;
  }
  __device__ Strip(const ConvGather<bf16>& g, const Phase& p, const Phase::Origin& origin,
                   int64_t row0, int m) {
    const Phase::Place place = p.place(origin, 0);
    const int64_t row = place.n * p.y.limit + place.y;  // of the large image, through the batch
    first = p.y.halvings == 0 ? row0 - g.w - 1 : ((row - 1) >> 1) * g.w;
    pixels = length(m, g.w, p.y.halvings);
  }
};

template <int kM, int kN, int kWarpM, int kWarpN, bool weights_along_inner>
struct StripTile {
  using Tile = MmaTile<kM, kN, kWarpM, kWarpN, true, weights_along_inner>;
  static constexpr int kStages = 4;
  static constexpr int kPixels = kM + kHalo, kZeros = kPixels;  // the row of zeros

  using Buffer = bf16[kPixels + 1][Tile::kStep];
  struct Staged {
    alignas(128) Buffer strip[2];
    typename Tile::B weight[kStages];
  };
  union Shared {
    Staged staged;
    typename Tile::Rows rows;  // results on their way out
  };

  // Chunk `chunk` of eight channels of a pixel of the strip.
  static __device__ bf16* chunk_at(Buffer& strip, int pixel, int chunk) {
    return &strip[pixel][(chunk ^ (pixel >> 1 & 3)) * 8];
  }
};

// What a lane knows of one of its rows of the tile: the pixel of the strip under the filter's
// centre, which taps exist (bits 0 to 8), and the output's parities in an enlarged image.
struct Row {
  int centre, taps;
};
constexpr int kOddY = 1 << 9, kOddX = 1 << 10;

__device__ inline Row strip_row(const ConvGather<bf16>& g, const Phase& p, const Phase::Place& at,
                                int64_t strip_first) {
  Row row{static_cast<int>((at.n * g.h + (at.y >> p.y.halvings)) * g.w + (at.x >> p.x.halvings) -
                           strip_first),
          0};
#pragma unroll
  for (int tap = 0; tap < kTaps; ++tap) {
    int y, x;
    if (p.y.find(at.y, p.y.tap(tap / 3), y) & p.x.find(at.x, p.x.tap(tap % 3), x))
      row.taps |= 1 << tap;
  }
  if (at.y & p.y.halvings) row.taps |= kOddY;
  if (at.x & p.x.halvings) row.taps |= kOddX;
  return row;
}

template <class S, int kBlocks>
__global__ void __launch_bounds__(S::Tile::kThreads, kBlocks)
    conv2d_mma_strip_kernel(ConvGather<bf16> g) {
  using Tile = typename S::Tile;
  auto& shared = shared_memory<typename S::Shared>();
  auto& staged = shared.staged;
  const Phase& p = g.phases.phase[0];
  const int64_t outputs = g.n * p.image.value(), stored = g.n * g.h * g.w;
  const int tiles_n = static_cast<int>(ceil_div(g.k0 + g.k1, Tile::kColumnsN));
  const int64_t row0 = blockIdx.x / tiles_n * int64_t{Tile::kRowsM};
  const int column0 = static_cast<int>(blockIdx.x % tiles_n) * Tile::kColumnsN;
  const Phase::Origin origin = p.origin(row0);
  const Strip strip(g, p, origin, row0, Tile::kRowsM);
  const int t = static_cast<int>(threadIdx.x), lane = Tile::lane();

  if (t < 2 * Tile::kStep) staged.strip[t / Tile::kStep][S::kZeros][t % Tile::kStep] = bf16{0};
  Row rows[Tile::kTilesM];
#pragma unroll
  for (int i = 0; i < Tile::kTilesM; ++i) {
    const int row = Tile::row() + 16 * i + lane % 16;
    rows[i] = strip_row(g, p, p.place(origin, row), strip.first);
    if (row0 + row >= outputs) rows[i].taps = 0;
  }

  // The channels that are copied next: their first, and in which tensor.
  int next_tap = 0, next_channel = 0, next_buffer = 0;
  bool second = false;
  const auto copy = [&](int stage) {
    const int channels = second ? g.c1 : g.c0;
    if (next_tap == 0) {
      const bf16* source = second ? g.x1 : g.x0;
      for (int i = t; i < strip.pixels * 4; i += Tile::kThreads) {
        const int64_t pixel = strip.first + i / 4;
        const int channel = next_channel + i % 4 * 8;
        const bool inside = pixel >= 0 && pixel < stored && channel < channels;
        async_copy_16(S::chunk_at(staged.strip[next_buffer], i / 4, i % 4),
                      inside ? source + pixel * channels + channel : source, inside);
      }
      next_buffer ^= 1;
    }
    copy_weights<Tile::kThreads>(staged.weight[stage], g, next_tap / 3, next_tap % 3, column0,
                                 next_channel, second);
    if (++next_tap < kTaps) return;
    next_tap = 0;
    next_channel += Tile::kStep;
    if (next_channel < channels) return;
    next_channel = 0;
    second = true;
  };

  Tile tile;
  const int steps =
      kTaps * static_cast<int>(ceil_div(g.c0, Tile::kStep) + ceil_div(g.c1, Tile::kStep));
#pragma unroll
  for (int step = 0; step < S::kStages - 1; ++step) {
    copy(step);  // there are at least nine steps
    async_copy_commit();
  }
  int now = 0, tap = 0, buffer = 0;
  for (int step = 0; step < steps; ++step) {
    // This step's copies have arrived; and everyone is done with the stage of the step before,
    // which is filled next, and long since with the strip before this one.
    async_copy_wait<S::kStages - 2>();
    __syncthreads();
    if (step + S::kStages - 1 < steps) copy((now + S::kStages - 1) % S::kStages);
    async_copy_commit();

    const int dy = p.y.tap(tap / 3).shift, dx = p.x.tap(tap % 3).shift;
    int pixel[Tile::kTilesM];
#pragma unroll
    for (int i = 0; i < Tile::kTilesM; ++i) {
      const int odd_y = (rows[i].taps & kOddY) != 0, odd_x = (rows[i].taps & kOddX) != 0;
      const int at =
          rows[i].centre + ((odd_y + dy) >> p.y.halvings) * g.w + ((odd_x + dx) >> p.x.halvings);
      pixel[i] = rows[i].taps >> tap & 1 ? at : S::kZeros;
    }
#pragma unroll
    for (int inner = 0; inner < Tile::kStep; inner += 16) {
      uint32_t a[Tile::kTilesM][4], b[Tile::kTilesN][2];
#pragma unroll
      for (int i = 0; i < Tile::kTilesM; ++i)
        ldmatrix_x4(a[i], S::chunk_at(staged.strip[buffer], pixel[i], inner / 8 + lane / 16));
#pragma unroll
      for (int j = 0; j < Tile::kTilesN; j += 2) {
        uint32_t pair[4];
        Tile::load_b(pair, staged.weight[now], Tile::column() + 8 * j, inner);
        b[j][0] = pair[0], b[j][1] = pair[1];
        b[j + 1][0] = pair[2], b[j + 1][1] = pair[3];
      }
#pragma unroll
      for (int i = 0; i < Tile::kTilesM; ++i)
#pragma unroll
        for (int j = 0; j < Tile::kTilesN; ++j) mma_m16n8k16(tile.sum[i][j], a[i], b[j]);
    }
    now = (now + 1) % S::kStages;
    if (++tap == kTaps) tap = 0, buffer ^= 1;
  }
  async_copy_wait<0>();
  __syncthreads();

  tile.template each_run<kVector<bf16>>(shared, [&](int row, int column, const auto& sums) {
    if (row0 + row < outputs && column0 + column < g.k0 + g.k1)
      g.write(row0 + row, column0 + column, sums);
  });
}

template <int kM, int kN, int kWarpM, int kWarpN>
void launch_tile(const ConvGather<bf16>& g, bool backward, Stream stream) {
  const int64_t tiles = ceil_div(g.outputs(0), kM) * ceil_div(g.outs(), kN);
  const auto run = [&]<bool weights_along_inner>() {
    using S = StripTile<kM, kN, kWarpM, kWarpN, weights_along_inner>;
    constexpr int kThreads = S::Tile::kThreads;
    // 512 threads of 128 registers fill a multiprocessor's register file.
    launch<conv2d_mma_strip_kernel<S, 512 / kThreads>>(static_cast<unsigned>(tiles), kThreads,
                                                       sizeof(typename S::Shared), stream, g);
  };
  backward ? run.template operator()<false>() : run.template operator()<true>();
}

}  // namespace

bool conv2d_strip_supports(const ConvGather<bf16>& g) {
  const Phase& p = g.phases.phase[0];
  const bool by_one = g.phases.count == 1 && p.y.taps == 3 && p.y.scale == 1 && p.y.period == 3;
  return by_one && Strip::length(64, g.w, p.y.halvings) <= 64 + kHalo &&
         Strip::length(256, g.w, p.y.halvings) <= 256 + kHalo;
}

void conv2d_strip(const ConvGather<bf16>& g, bool backward, Stream stream) {
  if (g.outs() <= 32) {
    if (enough_tiles(g, 256, 32)) return launch_tile<256, 32, 64, 32>(g, backward, stream);
  } else {
    if (g.outs() > 64 && enough_tiles(g, 128, 128))
      return launch_tile<128, 128, 64, 32>(g, backward, stream);
    if (enough_tiles(g, 128, 64)) return launch_tile<128, 64, 64, 32>(g, backward, stream);
  }
  launch_tile<64, 32, 16, 32>(g, backward, stream);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
