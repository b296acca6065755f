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
// or image) points at zeros instead, those in the same banks. Nearest-x2 enlargement only changes
// the address again: the strip holds stored pixels, four outputs read each.
//
// A block has several tiles where there are more than fit at once: while it finishes one, the strip
// of the next arrives, so that the way from memory is hidden at 32 channels, too, where a tile is
// one strip.
//
// A step is one tap of 32 channels. The taps are unrolled, so that what a tap means (where it
// reads, which stage of the weights' ring is its own, which rows have it) is known to the compiler:
// such a kernel is as fast as its warps can issue instructions, and what is not ldmatrix or mma is
// in the way. Weights come ahead, two steps into a ring of three stages or, in small tiles, eight
// into one of nine; the strips of successive channels alternate between two buffers, and a part of
// the next strip is copied at every tap. Rows of a strip are 64 bytes: its four 16-byte chunks are
// permuted (XOR with the row number) so that the eight rows of a matrix meet all banks, which saves
// the padding and lets more blocks share a multiprocessor.
//
// Since a block reads its source once, it can also make it what group norm and SiLU would have
// made of it (NormalisedConv2dArgs in kernels/conv2d.h): each thread, in place, the chunks that it
// has copied itself, before the barrier that shows them to the others. The shortcut of a residual
// block, a 1x1 filter over another image, is added to the sums of the taps.
#include <algorithm>

#include "kernels/cuda/conv2d_mma.h"
#include "kernels/cuda/device/approximate.h"
#include "kernels/cuda/device/occupancy.h"
#include "kernels/cuda/device/prefetch.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kTaps = 9;
constexpr int kHalo = 2 * kStripWidth + 2;  // pixels
// Pixels are counted through the batch in 32 bits.
constexpr int64_t kStripOutputs = (int64_t{1} << 31) - 1024;
constexpr int kPixelBytes = 64;  // 32 channels

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
constexpr int kTop = 1, kBottom = 2, kLeft = 4, kRight = 8, kOddY = 16, kOddX = 32;

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

// The way of 32 channels of the source into a buffer. A thread's chunks are all of the same eight
// channels, their pixels kApart apart, a multiple of eight: the permutation is the same for all.
template <class S>
struct StripCopy {
  static constexpr int kApart = S::kAtOnce;
  static_assert(kApart % 8 == 0);

  int after;  // of the pixels that exist, the thread's first is the after-th
  // The next chunk, of the channels that are copied next. The strip may begin before the batch
  // does: from where nothing is, nothing is read.
  const bf16* from;
  unsigned exist;  // pixels, or none where the channels end before this chunk

  static __device__ int begin(const Strip<S::kEnlarged>& strip) {
    return strip.first < 0 ? -strip.first : 0;
  }
  static __device__ int slot() { return static_cast<int>(threadIdx.x) / 4; }
  static __device__ int chunk() { return static_cast<int>(threadIdx.x) % 4; }

  __device__ void aim(const Strip<S::kEnlarged>& strip, const bf16* source, int stored,
                      int channels, int first) {
    int t = static_cast<int>(threadIdx.x);
    forget_origin(t);
    const int channel = first + t % 4 * 8, left = stored - strip.first;
    after = t / 4 - begin(strip);
    from = source + int64_t{strip.first} * channels + (t / 4 * channels + channel);
    exist = static_cast<unsigned>(
        channel < channels ? (left < strip.pixels ? left : strip.pixels) - begin(strip) : 0);
  }
  // Starts copies [first, last) of a thread's kCopies, of which `first` is the next. Where a pixel
  // does not exist, zeros.
  __device__ void start(typename S::Buffer& buffer, int channels, int first, int last) {
    auto* bytes = reinterpret_cast<unsigned char*>(buffer) + chunk_at(slot(), chunk());
#pragma unroll
    for (int i = first; i < last; ++i) {
      if (i >= S::kCopies) break;
      async_copy_16(bytes + i * kApart * kPixelBytes, from,
                    static_cast<unsigned>(after + i * kApart) < exist);
      from += kApart * channels;
    }
  }
};

// What group norm and SiLU make of 32 channels of a strip, `channel` being the thread's first of
// all `channels`, with the coefficients of each image [2, channels]. A thread rewrites what it has
// copied, which has arrived. Coefficients change with the image. They are scaled by -log2(e) when
// they are read, which saves an instruction for each element:
//   z / (1 + exp(-z)) = t / (s + s 2^t),  t = s z,  s = -log2(e)
template <class S>
__device__ void normalise(typename S::Buffer& buffer, const Strip<S::kEnlarged>& strip,
                          const Divisor& image, int stored, const float* coefficients, int channel,
                          int channels) {
  constexpr int kVector8 = kVector<bf16>;
  constexpr int kApart = StripCopy<S>::kApart;
  constexpr float kScale = -1.44269504f;
  auto* chunk =
      &buffer[0][0] + chunk_at(StripCopy<S>::slot(), StripCopy<S>::chunk()) / int{sizeof(bf16)};
  int pixel = strip.first + StripCopy<S>::slot();
  const int end = std::min(stored, strip.first + strip.pixels);
  int next = 0;  // image's first pixel
  Numbers<kVector8> a, b;
#pragma unroll 1
  for (; pixel < end; pixel += kApart, chunk += kApart * S::Tile::kStep) {
    if (pixel < 0) continue;
    if (pixel >= next) {
      const uint32_t n = image.quotient(static_cast<uint32_t>(pixel));
      next = static_cast<int>((n + 1) * image.value());
      const float* from = coefficients + int64_t{n} * 2 * channels + channel;
      a = load_numbers<kVector8>(from);
      b = load_numbers<kVector8>(from + channels);
#pragma unroll
      for (int j = 0; j < kVector8; ++j) {
        a[j] *= kScale;
        b[j] *= kScale;
      }
    }
    const auto x = load<kVector8>(chunk);
    float y[kVector8];
#pragma unroll
    for (int j = 0; j < kVector8; ++j) {
      const float scaled = fmaf(a[j], to_float(x[j]), b[j]);
      y[j] = scaled * reciprocal_approximate(fmaf(kScale, exp2_approximate(scaled), kScale));
    }
    store_shared(chunk, from_floats<bf16>(y));
  }
}

// The way of the filter to its ring, a tap of 32 channels at a time; a thread walks from tap to tap
// with one pointer. How the filter lies is told at copy_weights.
template <class S>
struct WeightCopy {
  using B = typename S::Tile::B;
  static constexpr int kApart = S::Tile::kThreads / B::kChunks;  // rows, of a thread's chunks

  const bf16* from;
  int outs, channels;  // from the thread's first chunk to the end of either

  __device__ void aim(const ConvGather<bf16>& g, int column0, int first, bool second) {
    int t = static_cast<int>(threadIdx.x);
    forget_origin(t);
    const int row = t / B::kChunks, column = t % B::kChunks * 8;
    const int out = column0 + (B::kAlongInner ? row : column);
    const int channel = first + (B::kAlongInner ? column : row);
    outs = g.k0 + g.k1 - out;
    channels = (second ? g.c1 : g.c0) - channel;
    if (!B::kAlongInner && outs <= 0) channels = 0;  // one number fewer to keep
    from = g.weight + (out * g.out_stride + (channel + (second ? g.c0 : 0)) * g.in_stride);
  }
  __device__ void start(const ConvGather<bf16>& g, B& b) {
    int further = 0;
    b.template each_chunk<S::Tile::kThreads>([&](bf16* to, int, int) {
      const bool exists = B::kAlongInner ? outs > further && channels > 0 : channels > further;
      async_copy_16(to, from + further * (B::kAlongInner ? g.out_stride : g.in_stride), exists);
      further += kApart;
    });
    from += g.tap_stride;
  }
};

// Blocks of 128 threads that a multiprocessor is to hold: with 128 registers a thread, four fill
// its register file, five with 102. The shared memory of an A100 has room for three of large tiles.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
template <class S>
constexpr int kBlocks = 3;
#else
template <class S>
constexpr int kBlocks = S::Tile::kTilesM == 1 ? 5 : 4;
#endif

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

// What is added in the end is on its way meanwhile.
template <class S>
__device__ void prefetch_residual(const ConvGather<bf16>& g, const TileAt<S>& at) {
  using Tile = typename S::Tile;
  constexpr int kSector = kSectorBytes / sizeof(bf16), kInRow = Tile::kColumnsN / kSector;
  const int outputs = outputs_of(g);
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kRowsM * kInRow; i += Tile::kThreads) {
    const int row = at.row + i / kInRow, column = at.column + i % kInRow * kSector;
    if (row < outputs && column < g.k0) prefetch_l2(g.residual + int64_t{row} * g.k0 + column);
  }
}

template <class S>
__device__ void prefetch_shortcut(const ConvGather<bf16>& g, const ConvShortcut& shortcut,
                                  const TileAt<S>& at) {
  using Tile = typename S::Tile;
  constexpr int kSector = kSectorBytes / sizeof(bf16);
  const int pixels = std::min(int{Tile::kRowsM}, outputs_of(g) - at.row);
#pragma unroll 1
  for (int second = 0; second < 2; ++second) {
    const auto channels = static_cast<int>(second ? shortcut.c1 : shortcut.c0);
    const bf16* from = (second ? shortcut.x1 : shortcut.x0) + int64_t{at.row} * channels;
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x) * kSector; i < pixels * channels;
         i += Tile::kThreads * kSector)
      prefetch_l2(from + i);
  }
}

// Adds the shortcut's products and bias. Each pixel is read once, so the fragments come straight
// from memory. In which order channels are summed is free if both operands have the same: of 32, a
// lane takes eight that lie beside each other, which are its part of two steps of 16.
template <class S>
__device__ void add_shortcut(typename S::Tile& tile, const ConvGather<bf16>& g,
                             const ConvShortcut& shortcut, const TileAt<S>& at) {
  using Tile = typename S::Tile;
  using Eight = Vector<uint32_t, 4>;
  const int group = Tile::lane() / 4, in_group = Tile::lane() % 4;
  // The lane's rows of A, and its columns of B, are eight apart.
  const int row = at.row + Tile::row() + group, column0 = at.column + Tile::column();
  const int rows = outputs_of(g) - row, columns = g.k0 - column0 - group;  // that exist
  const auto read = [](const bf16* from, bool exists) {
    return exists ? std::bit_cast<Eight>(load<kVector<bf16>>(from)) : Eight{};
  };
  const auto c0 = static_cast<int>(shortcut.c0), c1 = static_cast<int>(shortcut.c1);
  const int stride = c0 + c1;
#pragma unroll 1
  for (int second = 0; second < 2; ++second) {
    const int channels = second ? c1 : c0, mine = in_group * 8;
    const bf16* x = (second ? shortcut.x1 : shortcut.x0) + int64_t{row} * channels + mine;
    const bf16* weight = shortcut.weight + ((column0 + group) * stride + (second ? c0 : 0) + mine);
#pragma unroll 1
    for (int first = 0; first < channels; first += Tile::kStep) {
      const bool exists = first + mine < channels;
      Eight b[Tile::kTilesN];
#pragma unroll
      for (int j = 0; j < Tile::kTilesN; ++j)
        b[j] = read(weight + 8 * j * stride, exists && 8 * j < columns);
#pragma unroll
      for (int i = 0; i < Tile::kTilesM; ++i) {
        const Eight upper = read(x + 16 * i * channels, exists && 16 * i < rows);
        const Eight lower = read(x + (16 * i + 8) * channels, exists && 16 * i + 8 < rows);
#pragma unroll
        for (int part = 0; part < 4; part += 2)
#pragma unroll
          for (int j = 0; j < Tile::kTilesN; ++j)
            mma_m16n8k16(tile.sum[i][j],
                         {upper[part], lower[part], upper[part + 1], lower[part + 1]},
                         {b[j][part], b[j][part + 1]});
      }
      x += Tile::kStep;
      weight += Tile::kStep;
    }
  }
  if (shortcut.bias == nullptr) return;
#pragma unroll
  for (int j = 0; j < Tile::kTilesN; ++j) {
    const int column = column0 + 8 * j + 2 * in_group;
    if (column >= g.k0) break;
    const float bias[2] = {shortcut.bias[column], shortcut.bias[column + 1]};
#pragma unroll
    for (int i = 0; i < Tile::kTilesM; ++i)
#pragma unroll
      for (int k = 0; k < 4; ++k) tile.sum[i][j][k] += bias[k % 2];
  }
}

// A block has every gridDim.x-th of `tiles`.
template <class S>
__global__ void __launch_bounds__(S::Tile::kThreads, kBlocks<S>)
    conv2d_mma_strip_kernel(ConvGather<bf16> g, [[maybe_unused]] const float* coefficients,
                            [[maybe_unused]] ConvShortcut shortcut, int tiles) {
  follow_previous_kernel();
  using Tile = typename S::Tile;
  auto& staged = shared_memory<typename S::Shared>();
  const Phase& p = g.phases.phase[0];
  const int n = static_cast<int>(g.n);
  const int t = static_cast<int>(threadIdx.x);

  // The source's channels in groups of 32: those of x0, then those of x1.
  const int groups0 = static_cast<int>(ceil_div(g.c0, Tile::kStep));
  const int groups = groups0 + static_cast<int>(ceil_div(g.c1, Tile::kStep));
  const auto strip_of = [&](int index) {
    const TileAt<S> at(g, index);
    return Strip<S::kEnlarged>(g, p, at.origin(), at.row, Tile::kRowsM);
  };
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
    aim([&](int first, bool second) { weights.aim(g, TileAt<S>(g, index).column, first, second); },
        group);
  };

  int index = static_cast<int>(blockIdx.x);
  aim_strip(index, 0);
  copy.start(staged.strip[0], g.c0, 0, S::kCopies);
  aim_weights(index, 0);
#pragma unroll
  for (int tap = 0; tap < S::kAhead; ++tap) {
    weights.start(g, staged.weight[tap]);
    async_copy_commit();
  }
  if (t < S::kZeros) staged.zeros[t] = bf16{0};

  constexpr int kBufferBytes = sizeof(typename S::Buffer);
  auto* strips = reinterpret_cast<unsigned char*>(staged.strip);
  const auto strip_at = [&](int bytes) -> auto& {
    return *reinterpret_cast<typename S::Buffer*>(strips + bytes);
  };
  int buffer = 0;  // where the strip is that is read
#pragma unroll 1
  for (; index < tiles; index += static_cast<int>(gridDim.x)) {
    if constexpr (S::kShortcut)
      prefetch_shortcut<S>(g, shortcut, TileAt<S>(g, index));
    else if (!S::kEnlarged && g.residual)
      prefetch_residual<S>(g, TileAt<S>(g, index));
    Rows<S> rows(g, p, TileAt<S>(g, index).origin(), strip_of(index).first);
    Tile tile;
#pragma unroll 1
    for (int group = 0; group < groups; ++group, buffer = kBufferBytes - buffer) {
      // What comes next, of this tile or of the block's next one.
      const bool last = group + 1 == groups;
      const int next = last ? index + static_cast<int>(gridDim.x) : index;
      const int next_group = last ? 0 : group + 1;
      const bool more = next < tiles;
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
      for (int tap = 0; tap < kTaps; ++tap) {
        // This step's copies have arrived; and everyone is done with the step before, whose stage
        // is filled next, and with the strip before this one.
        async_copy_wait<S::kAhead - 1>();
        __syncthreads();
        if (tap + S::kAhead == kTaps && more) {
          forget_origin(group);  // what follows from it need not be kept until here
          aim_weights(next, next_group);
        }
        if (tap + S::kAhead < kTaps || more)
          weights.start(g, staged.weight[(tap + S::kAhead) % S::kStages]);
        if (more)
          copy.start(strip_at(kBufferBytes - buffer), next_group < groups0 ? g.c0 : g.c1,
                     tap * S::kCopiesAtTap, (tap + 1) * S::kCopiesAtTap);
        async_copy_commit();

        int at[Tile::kTilesM];
        rows.places(at, tap, g.w, buffer);
#pragma unroll
        for (int inner = 0; inner < Tile::kStep; inner += 16) {
          uint32_t a[Tile::kTilesM][4];
#pragma unroll
          for (int i = 0; i < Tile::kTilesM; ++i)  // two chunks further is one bit of the address
            ldmatrix_x4(a[i], strips + (at[i] ^ inner * 2) + i * Rows<S>::kApart);
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
    const TileAt<S> at(g, index);
    if constexpr (S::kShortcut) add_shortcut<S>(tile, g, shortcut, at);
    // Results go out by way of the strip that all have read now, while the next one arrives.
    __syncthreads();
    const int outputs = outputs_of(g);
    tile.template each_run<kVector<bf16>>(
        reinterpret_cast<typename S::Out&>(strip_at(kBufferBytes - buffer)),
        [&](int row, int column, const auto& sums) {
          if (at.row + row < outputs && at.column + column < g.k0 + g.k1)
            g.write(at.row + row, at.column + column, sums);
        });
  }
}

// What only a normalised convolution has.
struct Normalisation {
  const float* coefficients = nullptr;
  ConvShortcut shortcut = {};
};

template <int kM, int kN, int kWarpM, int kWarpN>
void launch_tile(const ConvGather<bf16>& g, bool backward, const Normalisation& norm,
                 Stream stream) {
  const int64_t tiles = ceil_div(g.outputs(0), kM) * ceil_div(g.outs(), kN);
  const auto run = [&]<bool backward_, bool enlarged, bool normalised = false, bool cut = false>() {
    using S = StripTile<kM, kN, kWarpM, kWarpN, backward_, enlarged, normalised, cut>;
    constexpr auto kernel = conv2d_mma_strip_kernel<S>;
    constexpr size_t kShared = sizeof(typename S::Shared);
    const int64_t at_once = blocks_at_once<kernel>(S::Tile::kThreads, kShared);
    launch<kernel>(static_cast<unsigned>(std::min(tiles, at_once)), S::Tile::kThreads, kShared,
                   stream, g, norm.coefficients, norm.shortcut, static_cast<int>(tiles));
  };
  if (norm.shortcut.x0) return run.template operator()<false, false, true, true>();
  if (norm.coefficients) return run.template operator()<false, false, true>();
  if (backward) return run.template operator()<true, false>();
  if constexpr (kN == 32)
    if (g.phases.phase[0].y.halvings > 0) return run.template operator()<false, true>();
  run.template operator()<false, false>();
}

void run(const ConvGather<bf16>& g, bool backward, const Normalisation& norm, Stream stream) {
  // An enlarged image's rows take more registers than the wide tile leaves.
  if (g.outs() <= 32 || g.phases.phase[0].y.halvings > 0) {
    if (enough_tiles(g, 256, 32)) return launch_tile<256, 32, 64, 32>(g, backward, norm, stream);
  } else if (enough_tiles(g, 128, 64)) {
    return launch_tile<128, 64, 64, 32>(g, backward, norm, stream);
  }
  launch_tile<64, 32, 16, 32>(g, backward, norm, stream);
}

}  // namespace

bool conv2d_strip_supports(const ConvGather<bf16>& g) {
  const Phase& p = g.phases.phase[0];
  if (g.outputs(0) > kStripOutputs) return false;
  const bool by_one = g.phases.count == 1 && p.y.taps == 3 && p.y.scale == 1 && p.y.period == 3;
  const auto fits = [&](int m) {
    return (p.y.halvings ? Strip<true>::length(m, g.w) : Strip<false>::length(m, g.w)) <= m + kHalo;
  };
  return by_one && fits(64) && fits(256);
}

void conv2d_strip(const ConvGather<bf16>& g, bool backward, Stream stream) {
  run(g, backward, {}, stream);
}

void conv2d_strip_normalised(const ConvGather<bf16>& g, const float* coefficients,
                             const ConvShortcut& shortcut, Stream stream) {
  run(g, false, {coefficients, shortcut}, stream);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
