// The weight gradient by warpgroups (conv2d_backward_weight_wgmma.cu): how images lie in shared
// memory, which products are formed of them, and what these say of the weights.
//
// Cells. 128 bytes, 64 numbers, are a cell: 64 channels of a pixel, or 32 of two neighbours. Rows
// of cells are padded to a multiple of eight, a pattern of wgmma: where a row begins, a pattern
// does. Between one image and the next lies a row of zeros: the whole batch is one tall picture of
// N (H + 1) rows, and a slice of the sum is a run of its rows.
//
//   B: the cells of x. Their channels lie along the product's columns, and blocks of 64 columns may
//      be any number of patterns apart: with a row of cells between them, one product has the rows
//      of x above, at and below the pixel. The taps' rows cost no instruction.
//   A: the cells of dy, transposed on the way to registers by ldmatrix, whose lanes may begin at a
//      cell of their choice: the taps' columns are the neighbouring cell. At an end of a row, where
//      there is none, a lane reads zeros.
//
// A product is 64 rows by two or three blocks of columns, and a sum over 16 cells; each warpgroup
// has one of its own.
//
//   wide      64 by 64 channels. Warpgroup g has the taps' column g: dy one cell further by 1 - g.
//   pairs     32 by 32, in pairs of pixels p, q: rows p | q of dy, columns p | q of x. Warpgroup 0
//             takes both from the same place: p of dy with q of x is the tap at the right, q with p
//             that at the left, p with p and q with q the one between. What these two taps have
//             besides crosses from cell to cell: warpgroup 1 has p of the next and q of the last.
//   enlarged  64 by 64, x enlarged: rows 2 i and 2 i + 1 of dy see row i of x. A block has the even
//             rows or the odd ones, which meet two rows of x; a warpgroup has one of the columns
//             2 j - 1 .. 2 j + 2 that meet column j. The sum of two neighbours is a tap's: four
//             ninths of the multiplications.
//   single    64 by 128, 1x1. Both blocks are of the same row; warpgroups take turns.
#pragma once

#include "kernels/cuda/conv2d_backward_weight.h"
#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/wgmma.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

enum class CellForm { wide, pairs, enlarged, single };

template <CellForm form_>
struct CellProduct {
  static constexpr CellForm form = form_;
  static constexpr bool kWide = form == CellForm::wide, kPairs = form == CellForm::pairs;
  static constexpr bool kEnlarged = form == CellForm::enlarged, kSingle = form == CellForm::single;
  static constexpr int kChunks = 8, kCell = 64;   // of eight numbers; numbers
  static constexpr int kPixels = kPairs ? 2 : 1;  // of a cell
  static constexpr int kTaps = kSingle ? 1 : 9;
  static constexpr int kGroups = kWide ? 3 : kEnlarged ? 4 : 2, kThreads = kGroups * kWarpgroup;
  static constexpr int kShares = kSingle ? kGroups : 1;  // of the cells
  static constexpr int kBlocks = kWide || kPairs ? 3 : 2, kColumns = kBlocks * kCell;
  static constexpr int kHalo = kSingle ? 0 : kBlocks - 1;  // rows that B has more than A
  // Images of their own: B's further channels, A's even and odd columns.
  static constexpr int kPlanesB = kSingle ? kBlocks : 1, kPlanesA = kEnlarged ? 2 : 1;
  static constexpr int kScale = kEnlarged ? 2 : 1;  // pixels of dy for one of x, on either side
  // Channels of a tile.
  static constexpr int kOut = kCell / kPixels, kIn = kPlanesB * kCell / kPixels;

  // In shared memory, sums of each warpgroup; eight more columns keep lanes in different banks.
  struct Sums {
    float at[kGroups][64][kColumns + 8];
  };

  // What a warp has of A: sixteen channels from chunk 2 (warp % 4) on, of the cell `shift` further.
  struct Part {
    int plane, shift;
    bool counts;  // its sums over the cells are part of the bias gradient
  };
  static __device__ Part part(int warp) {
    const int group = warp / 4;
    if (kWide) return {0, 1 - group, group == 1};
    if (kPairs) return {0, group == 0 ? 0 : warp % 4 < 2 ? 1 : -1, group == 0};
    if (kEnlarged) return {(group - 1) & 1, (group - 1) >> 1, group == 1 || group == 2};
    return {0, 0, true};
  }

  // What the warpgroups know of a tap (r, s): four of a row's input channels from c on, of output
  // channel k. odd: of an enlarged image, whether the block has the odd rows.
  static __device__ Vector<float, 4> weights(const Sums& sums, int k, int r, int s, int c,
                                             [[maybe_unused]] int odd) {
    if constexpr (kWide) return load<4>(&sums.at[s][k][r * kCell + c]);
    const float *one, *other;
    if constexpr (kPairs) {
      one = &sums.at[0][s == 0 ? 32 + k : k][r * kCell + (s == 2 ? 32 : 0) + c];
      other = &sums.at[s == 1 ? 0 : 1][s == 0 ? k : 32 + k][r * kCell + (s == 2 ? 0 : 32) + c];
    } else if constexpr (kEnlarged) {
      const int column = (((odd + r - 1) >> 1) + 1 - odd) * kCell + c;
      one = &sums.at[2 - s][k][column];
      other = &sums.at[3 - s][k][column];
    } else {
      one = &sums.at[0][k][c];
      other = &sums.at[1][k][c];
    }
    auto x = load<4>(one);
    const auto y = load<4>(other);
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] += y[i];
    return x;
  }
  // The same of the bias gradient, from the sums of A's rows.
  static __device__ float bias(const float (&rows)[kGroups][64], int k) {
    if (kWide) return rows[1][k];
    if (kPairs) return rows[0][k] + rows[0][32 + k];
    if (kEnlarged) return rows[1][k] + rows[2][k];
    return rows[0][k] + rows[1][k];
  }
};

// The batch as one tall picture, in pixels of x, and how it is cut.
struct CellPicture {
  const bf16 *x0, *x1, *dy;
  int images, h, w, c0, c1, k;
  int rows;          // all
  int pitch;         // cells of a row
  int unit;          // rows of whole steps, 1, 2, 4 or 8: what follows is a multiple of it
  int at_once;       // rows of a stage
  int slice;         // rows of a slice
  int tiles_c;       // of input channels
  int side_by_side;  // rows that all threads copy at once, at most those of a line
  Divisor line;      // rows from image to image
  Divisor of_row;    // cells

  __device__ int line_rows() const { return static_cast<int>(line.value()); }
  template <class P>
  int64_t tiles() const {
    return ceil_div(k, P::kOut) * tiles_c * P::kScale;
  }
  template <class P>
  __host__ __device__ int cells_a() const {
    return at_once * pitch;
  }
  template <class P>
  __host__ __device__ int cells_b() const {
    return (at_once + P::kHalo) * pitch;
  }
  template <class P>
  __host__ __device__ int stage_cells() const {
    return P::kPlanesA * cells_a<P>() + P::kPlanesB * cells_b<P>();
  }
};

// Where a thread's chunk of an operand's cells comes from: row r and cell c of the picture are
// pixel (scale r + row, apart c + column) of images `width` wide.
struct CellSource {
  const bf16* channel;  // of the first pixel
  bool exists;          // or it is past the last
  int channels, width, scale, apart, row, column;

  // Starts copying `rows` rows of the picture from `first` on; zeros where there is nothing.
  template <class P>
  __device__ void copy(bf16* to, const CellPicture& picture, int first, int rows) const {
    constexpr int kSlots = P::kThreads / P::kChunks;
    int t = static_cast<int>(threadIdx.x);
    forget_origin(t);
    const int chunk = t % P::kChunks, slot = t / P::kChunks, pitch = picture.pitch;
    // Threads share rows out, or cells of each.
    const int side_by_side = picture.side_by_side;
    const int row0 = static_cast<int>(picture.of_row.quotient(static_cast<uint32_t>(slot)));
    if (row0 >= side_by_side) return;
    const int bytes = channels * static_cast<int>(sizeof(bf16));
    // The first row as row `line` of an image; -1 is the row before the first image.
    const int from = first + row0 + picture.line_rows();
    const auto image = static_cast<int>(picture.line.quotient(static_cast<uint32_t>(from))) - 1;
    const int line0 = first + row0 - image * picture.line_rows();
    const int stored0 = first + row0 - (P::kSingle ? 0 : image);
    const int further = side_by_side * scale * width, back = P::kSingle ? 0 : scale * width;
#pragma unroll 1
    for (int cell = slot - row0 * pitch; cell < pitch; cell += kSlots) {
      const int x = cell * apart + column;
      const int end = exists && x < width ? picture.images * picture.h * scale * width : 0;
      int pixel = (stored0 * scale + row) * width + x, line = line0;
      bf16* place = to + (row0 * pitch + cell) * P::kCell + (chunk ^ (cell & 7)) * 8;
#pragma unroll 1
      for (int i = row0; i < rows; i += side_by_side) {
        async_copy_16(place, rows_further(channel, pixel, bytes),
                      (line < picture.h) & (pixel < end));
        place += side_by_side * pitch * P::kCell;
        pixel += further;
        line += side_by_side;
        if (line >= picture.line_rows()) {
          line -= picture.line_rows();
          pixel -= back;
        }
      }
    }
  }
};

// All that a thread copies, of a tile whose channels begin at k0 and c0.
template <class P>
struct CellSources {
  CellSource b[P::kPlanesB], a[P::kPlanesA];

  __device__ CellSources(const CellPicture& p, int k0, int c0, int odd) {
    constexpr int kOfPixel = P::kChunks / P::kPixels;
    int t = static_cast<int>(threadIdx.x);
    forget_origin(t);  // made again for each stage: sums want the registers
    const int chunk = t % P::kChunks;
    [[maybe_unused]] const int pixel = chunk / kOfPixel;
    const int k = k0 + chunk % kOfPixel * 8;
#pragma unroll
    for (int plane = 0; plane < P::kPlanesB; ++plane) {
      const int c = c0 + plane * P::kCell + chunk % kOfPixel * 8;
      const bool exists = c < p.c0 + p.c1, second = exists && c >= p.c0;
      b[plane] = {second ? p.x1 + (c - p.c0) : p.x0 + (exists ? c : 0),
                  exists,
                  second ? p.c1 : p.c0,
                  p.w,
                  1,
                  P::kPixels,
                  0,
                  pixel};
    }
#pragma unroll
    for (int plane = 0; plane < P::kPlanesA; ++plane)
      a[plane] = {p.dy + (k < p.k ? k : 0),
                  k < p.k,
                  p.k,
                  P::kScale * p.w,
                  P::kScale,
                  P::kScale * P::kPixels,
                  odd,
                  P::kEnlarged ? plane : pixel};
  }

  // Rows from `first` on, to a stage: planes of B, then of A.
  __device__ void copy(bf16* to, const CellPicture& picture, int first, int rows, int odd) const {
    const int above = P::kSingle ? 0 : 1 - odd;
#pragma unroll
    for (int plane = 0; plane < P::kPlanesB; ++plane, to += picture.cells_b<P>() * P::kCell)
      b[plane].template copy<P>(to, picture, first - above, rows + P::kHalo);
#pragma unroll
    for (int plane = 0; plane < P::kPlanesA; ++plane, to += picture.cells_a<P>() * P::kCell)
      a[plane].template copy<P>(to, picture, first, rows);
  }
};

}  // namespace diffscm::kernels::DIFFSCM_TARGET
