// The geometry of conv2d_mma_strip.cu: what a block's tile of outputs reads of the image, and where
// that lies in shared memory.
#pragma once

#include <algorithm>
#include <utility>

#include "kernels/cuda/conv2d_enlarged.h"
#include "kernels/cuda/conv2d_mma.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// Pixels are counted through the batch in 32 bits.
inline constexpr int64_t kStripOutputs = (int64_t{1} << 31) - 1024;
inline constexpr int kPixelBytes = 64;  // 32 channels

template <int kM, int kN, int kWarpM, int kWarpN, bool backward, bool enlarged,
          bool normalised = false, bool shortcut = false>
struct StripTile {
  using Tile = MmaTile<kM, kN, kWarpM, kWarpN, true, !backward>;
  static constexpr bool kBackward = backward, kEnlarged = enlarged, kNormalised = normalised,
                        kShortcut = shortcut;
  // A phase of an enlarged image has 2x2 taps (conv2d_enlarged.h).
  static constexpr int kSide = enlarged ? 2 : 3, kTaps = kSide * kSide;
  static constexpr int kHalo = (kSide - 1) * (kStripWidth + 1);  // pixels
  // Of weights. Small tiles are for few images, whose blocks wait for one thing after the other:
  // all taps of 32 channels are asked for at once, as are the four of a phase.
  static constexpr int kStages = enlarged || Tile::kTilesM == 1 ? kTaps : 3, kAhead = kStages - 1;
  static_assert(kTaps % kStages == 0, "a tap always has the same stage");
  static constexpr int kZeros = 64;                   // as many bytes as there are banks
  static constexpr int kAtOnce = Tile::kThreads / 4;  // pixels that the block's threads copy
  // Chunks of a strip per thread, and of a thread at each tap but the last kAhead: the steps that
  // are a strip's copies must be over so many steps before it is read.
  static constexpr int kCopies = static_cast<int>(ceil_div(kM + kHalo, kAtOnce));
  static constexpr int kCopiesAtTap = static_cast<int>(ceil_div(kCopies, kTaps - kAhead));

  struct Out {  // results on their way out
    typename Tile::Rows rows;
  };
  static constexpr int kPixels =
      std::max(kCopies * kAtOnce, static_cast<int>(ceil_div(sizeof(Out), kPixelBytes)));
  using Buffer = bf16[kPixels][Tile::kStep];
  struct Shared {
    alignas(128) Buffer strip[2];
    alignas(128) bf16 zeros[kZeros];
    typename Tile::B weight[kStages];
  };

  // The shift of a tap, in pixels from the filter's centre or, of 2x2 taps, from the first: forward
  // the filter is walked down, backward up.
  static constexpr int kFirst = enlarged ? 0 : -1, kLast = 1;
  static constexpr int shift(int i) { return backward ? kLast - i : kFirst + i; }
};

// Bytes from a buffer's beginning to chunk `chunk` of eight channels of a pixel.
__device__ inline int chunk_at(int pixel, int chunk) {
  return pixel * kPixelBytes + ((pixel << 3 & 0x30) ^ chunk << 4);
}

// The tiles of a launch, `across` of them side by side.
struct StripTiles {
  Divisor across;
  int count;
};

// The tile of so many: where its outputs begin. The four phases of an enlarged image's tile, which
// read the same pixels, follow each other.
template <class S>
struct TileAt {
  int row, column;
  int odd_y = 0, odd_x = 0;  // the phase
  __device__ TileAt(const StripTiles& tiles, int index) {
    using Tile = typename S::Tile;
    forget_origin(index);  // rather than keep a tile's place from one use to the next
    if constexpr (S::kEnlarged) {
      odd_y = index >> 1 & 1;
      odd_x = index & 1;
      index >>= 2;
    }
    const auto i = static_cast<uint32_t>(index), below = tiles.across.quotient(i);
    row = static_cast<int>(below) * Tile::kRowsM;
    column = static_cast<int>(tiles.across.remainder(i, below)) * Tile::kColumnsN;
  }
  __device__ Phase::Origin origin() const { return {0, static_cast<uint32_t>(row)}; }
  // Of the result, the pixel of an output of the tile: of a stored pixel m = (n h + y) w + x it is
  // (n 2h + 2y + odd_y) 2w + 2x + odd_x.
  __device__ auto pixel([[maybe_unused]] const ConvGather<bf16>& g, int output) const {
    const int m = row + output;
    if constexpr (S::kEnlarged) {
      const Divisor& w = g.phases.phase[0].row;
      const uint32_t x = w.remainder(m, w.quotient(m));
      return int64_t{4} * m + (2 * (odd_y * g.w - static_cast<int>(x)) + odd_x);
    } else {
      return m;
    }
  }
};

// Where a tile's strip begins, counted through the batch's stored pixels (it may be before the
// first), and how many pixels it has: between what the first tap of the first output and the last
// tap of the last one read.
template <class S>
struct Strip {
  int first, pixels;
  __device__ Strip(const ConvGather<bf16>& g, const TileAt<S>& at)
      : first(at.row - g.w - 1), pixels(S::Tile::kRowsM + (S::kEnlarged ? g.w + 1 : 2 * g.w + 2)) {
    if constexpr (S::kEnlarged) first += at.odd_y * g.w + at.odd_x;
  }
};

// Of an output, the edges of the image across which its filter hangs.
inline constexpr int kTop = 1, kBottom = 2, kLeft = 4, kRight = 8;

// What a lane knows of its rows of the tile, which are 16 apart: the pixel of the strip that the
// first one's tap of shift 0 reads and, in one register, a byte of the above for each row. The
// others' pixels are 16 apart as the rows are, and have the same permutation of chunks.
template <class S>
struct Rows {
  static constexpr int kRows = S::Tile::kTilesM;
  static_assert(kRows <= 4);
  static constexpr int kApart = 16 * kPixelBytes;
  // An array of one, for change(): with a number the compiler moves more out of the loop than there
  // are registers for.
  int centre[1] = {};
  int edges = 0;

  __device__ Rows(const Phase& p, const TileAt<S>& tile, int strip_first) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int output = S::Tile::row() + 16 * i + S::Tile::lane() % 16;
      const auto at = p.place(tile.origin(), output);
      int edge = (at.y == 0 ? kTop : 0) | (at.y == p.y.limit - 1 ? kBottom : 0) |
                 (at.x == 0 ? kLeft : 0) | (at.x == p.x.limit - 1 ? kRight : 0);
      if (S::kEnlarged) edge &= (tile.odd_y ? kBottom : kTop) | (tile.odd_x ? kRight : kLeft);
      edges |= edge << 8 * i;
      if (i > 0) continue;
      centre[0] = S::kEnlarged ? output : tile.row + output - strip_first;
    }
  }

  // Adds 0, which the compiler cannot know: otherwise it works out all taps' places ahead of the
  // loop and has no registers for them.
  __device__ void change(int not_negative) {
    edges += not_negative >> 31;
    for (int& c : centre) c += not_negative >> 31;
  }

  // Where ldmatrix reads a tap of row i, less i kApart; the strip is `buffer` bytes from the first.
  __device__ void places(SharedAddress (&at)[kRows], int tap, int w, SharedAddress strips,
                         int buffer) {
    const int dy = S::shift(tap / S::kSide), dx = S::shift(tap % S::kSide);
    const int missing = (dy == S::kFirst ? kTop : 0) | (dy == S::kLast ? kBottom : 0) |
                        (dx == S::kFirst ? kLeft : 0) | (dx == S::kLast ? kRight : 0);
    forget_origin(centre[0]);
    const int of_strips = buffer + chunk_at(centre[0] + dy * w + dx, S::Tile::lane() / 16);
    const SharedAddress place = strips + of_strips;
    const SharedAddress nothing =
        strips + (2 * int{sizeof(typename S::Buffer)} + (of_strips & 127));
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      forget_origin(edges);
      at[i] = (edges & missing << 8 * i) != 0 ? nothing - i * kApart : place;
    }
  }

  // The A fragments of all rows, `chunks` further (0 or 2: one bit of the address).
  static __device__ void load(uint32_t (&a)[kRows][4], const SharedAddress (&at)[kRows],
                              int chunks) {
    [&]<int... i>(std::integer_sequence<int, i...>) {
      (ldmatrix_x4_at<i * kApart>(a[i], at[i] ^ static_cast<SharedAddress>(chunks << 4)), ...);
    }
    (std::make_integer_sequence<int, kRows>{});
  }
};

__device__ inline int outputs_of(const ConvGather<bf16>& g) {
  return static_cast<int>(g.n) * static_cast<int>(g.phases.phase[0].image.value());
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
