// The geometry of conv2d_mma_strip.cu: what a block's tile of outputs reads of the image, and where
// that lies in shared memory.
#pragma once

#include "kernels/cuda/conv2d_mma.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

inline constexpr int kTaps = 9;
inline constexpr int kHalo = 2 * kStripWidth + 2;  // pixels
// Pixels are counted through the batch in 32 bits.
inline constexpr int64_t kStripOutputs = (int64_t{1} << 31) - 1024;
inline constexpr int kPixelBytes = 64;  // 32 channels

// Where a block's strip begins, counted through the batch's stored pixels (it may be before the
// first), and how many pixels it has.
template <bool kEnlarged>
struct Strip {
  int first;
  int pixels;

  __host__ __device__ static int length(int m, int w) {
    if (!kEnlarged) return m + 2 * w + 2;
    const int rows = (m - 2) / (2 * w) + 1;  // between the first and the last, of the large image
    return ((rows + 3) / 2 + 1) * w;
  }
  __device__ Strip(const ConvGather<bf16>& g, const Phase& p, const Phase::Origin& origin, int row0,
                   int m) {
    const Phase::Place place = p.place(origin, 0);
    const int row = static_cast<int>(place.n) * p.y.limit + place.y;  // through the batch
    first = kEnlarged ? ((row - 1) >> 1) * g.w : row0 - g.w - 1;
    pixels = length(m, g.w);
  }
};

template <int kM, int kN, int kWarpM, int kWarpN, bool backward, bool enlarged,
          bool normalised = false, bool shortcut = false>
struct StripTile {
  using Tile = MmaTile<kM, kN, kWarpM, kWarpN, true, !backward>;
  static constexpr bool kEnlarged = enlarged, kNormalised = normalised, kShortcut = shortcut;
  // Of weights. Small tiles are for few images, whose blocks wait for one thing after the other:
  // all taps of 32 channels are asked for at once.
  static constexpr int kStages = Tile::kTilesM == 1 ? kTaps : 3, kAhead = kStages - 1;
  static_assert(kTaps % kStages == 0, "a tap always has the same stage");
  static constexpr int kZeros = 64;                   // as many bytes as there are banks
  static constexpr int kAtOnce = Tile::kThreads / 4;  // pixels that the block's threads copy
  // Chunks of a strip per thread, and of a thread at each tap but the last kAhead: the steps that
  // are a strip's copies must be over so many steps before it is read.
  static constexpr int kCopies = static_cast<int>(ceil_div(kM + kHalo, kAtOnce));
  static constexpr int kCopiesAtTap = static_cast<int>(ceil_div(kCopies, kTaps - kAhead));

  using Buffer = bf16[kCopies * kAtOnce][Tile::kStep];
  struct Shared {
    alignas(128) Buffer strip[2];
    alignas(128) bf16 zeros[kZeros];
    typename Tile::B weight[kStages];
  };
  struct Out {  // results on their way out
    typename Tile::Rows rows;
  };
  static_assert(sizeof(Out) <= sizeof(Buffer));

  // The shift of a tap, in pixels: forward the filter is walked down, backward up.
  static constexpr int shift(int i) { return backward ? 1 - i : i - 1; }
};

// Bytes from a buffer's beginning to chunk `chunk` of eight channels of a pixel.
__device__ inline int chunk_at(int pixel, int chunk) {
  return pixel * kPixelBytes + ((pixel << 3 & 0x30) ^ chunk << 4);
}

// At which edges of the image an output lies, and its parities in an enlarged one.
inline constexpr int kTop = 1, kBottom = 2, kLeft = 4, kRight = 8, kOddY = 16, kOddX = 32;

// What a lane knows of its rows of the tile, which are 16 apart: the pixel of the strip under the
// filter's centre and, in one register, a byte of the above for each row. A plain image's pixels
// are 16 apart as the rows are, and have the same permutation of chunks: one is enough.
template <class S>
struct Rows {
  static constexpr int kRows = S::Tile::kTilesM;
  static_assert(kRows <= 4);
  static constexpr int kApart = 16 * kPixelBytes;
  int centre[S::kEnlarged ? kRows : 1] = {};
  int edges = 0;

  __device__ Rows(const ConvGather<bf16>& g, const Phase& p, const Phase::Origin& origin,
                  int strip_first) {
    constexpr int kHalvings = S::kEnlarged;
#pragma unroll
    for (int i = 0; i < S::Tile::kTilesM; ++i) {
      const auto at = p.place(origin, S::Tile::row() + 16 * i + S::Tile::lane() % 16);
      int edge = (at.y == 0 ? kTop : 0) | (at.y == p.y.limit - 1 ? kBottom : 0) |
                 (at.x == 0 ? kLeft : 0) | (at.x == p.x.limit - 1 ? kRight : 0);
      if (S::kEnlarged) edge |= (at.y % 2 ? kOddY : 0) | (at.x % 2 ? kOddX : 0);
      edges |= edge << 8 * i;
      if (i > 0 && !S::kEnlarged) continue;
      const int row = static_cast<int>(at.n) * g.h + (at.y >> kHalvings);
      centre[i] = row * g.w + (at.x >> kHalvings) - strip_first;
    }
  }
  __device__ bool has(int i, int bits) const {
    return (edges & bits << 8 * i) != 0;
  }

  // Adds 0, which the compiler cannot know: otherwise it works out all taps' places ahead of the
  // loop and has no registers for them.
  __device__ void change(int not_negative) {
    edges += not_negative >> 31;
    for (int& c : centre) c += not_negative >> 31;
  }

  // Where ldmatrix reads a tap of row i, less i kApart, in bytes from the first buffer. In an
  // enlarged image two neighbours are one stored pixel, and how far the tap reads depends on the
  // row.
  __device__ void places(int (&at)[kRows], int tap, int w, int buffer) {
    const int dy = S::shift(tap / 3), dx = S::shift(tap % 3), chunk = S::Tile::lane() / 16;
    const int missing =
        (dy < 0 ? kTop : 0) | (dy > 0 ? kBottom : 0) | (dx < 0 ? kLeft : 0) | (dx > 0 ? kRight : 0);
    int plain = 0, zeros = 2 * sizeof(typename S::Buffer);
    if constexpr (!S::kEnlarged) {
      forget_origin(centre[0]);
      plain = buffer + chunk_at(centre[0] + dy * w + dx, chunk);
      zeros += plain & 127;
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      forget_origin(edges);
      int place = plain;
      if constexpr (S::kEnlarged) {
        forget_origin(centre[i]);
        int pixel = centre[i];
        if (dy != 0 && has(i, kOddY) == (dy > 0)) pixel += dy * w;
        if (dx != 0 && has(i, kOddX) == (dx > 0)) pixel += dx;
        place = buffer + chunk_at(pixel, chunk) - i * kApart;
      }
      at[i] = has(i, missing) ? zeros - i * kApart : place;
    }
  }
};

// The tile of so many: where its outputs begin.
template <class S>
struct TileAt {
  int row, column;
  __device__ TileAt(const ConvGather<bf16>& g, int index) {
    using Tile = typename S::Tile;
    forget_origin(index);  // rather than keep a tile's place from one use to the next
    const int tiles_n = static_cast<int>(ceil_div(g.k0 + g.k1, Tile::kColumnsN));
    row = index / tiles_n * Tile::kRowsM;
    column = index % tiles_n * Tile::kColumnsN;
  }
  __device__ Phase::Origin origin() const { return {0, static_cast<uint32_t>(row)}; }
};

__device__ inline int outputs_of(const ConvGather<bf16>& g) {
  return static_cast<int>(g.n) * static_cast<int>(g.phases.phase[0].image.value());
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
