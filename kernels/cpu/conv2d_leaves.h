// The inner loops ("leaves") of the convolution, and the table that picks them by instruction set.
//
// Each leaf is written once, with vectors of kLanes floats (conv2d_leaf_*.h), and compiled three
// times: conv2d_v1.cpp, conv2d_v3.cpp and conv2d_v4.cpp include the bodies under their own
// `#pragma GCC target` and in their own namespace. Leaves know nothing of threads, batches or
// argument checks; what they work on is described by the structs below.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/cpu/isa.h"

namespace diffscm::kernels::cpu {

// out[i, j] = bias[j] + residual[i, j]
//           + sum_{t < taps} sum_{l < length} a[t*a_tap + i*a_row + l*a_step] * B[t*length + l, j]
// for i < rows, j < columns, where B[m, j] = b[(j/16)*b_panel + m*b_row + j%16]: either a plain
// matrix (b_panel = 16) or panels of 16 columns, each in one piece (b_row = 16). Every convolution
// here is made of such products: `a` walks over image pixels, `b` over packed weights (or the other
// way round for weight gradients). Each out[i, j] is summed in the order written, so that it
// depends neither on the tiling nor on the number of registers. b may be read up to kLanesMax - 1
// floats past its last column. Either a_step or a_row must be 1. residual has the rows of out and
// may be out itself. The sum goes on with `more` if its length is not 0: a second matrix beside
// `a`.
struct Product {
  const float* a;
  int64_t a_tap, a_row, a_step;
  const float* b;
  int64_t b_panel, b_row;
  int64_t taps, length, rows, columns;
  const float* bias;      // or null
  const float* residual;  // or null
  float* out;
  int64_t out_row;
  struct {
    const float* a;
    int64_t a_row, length;  // one tap, a_step as above
  } more = {nullptr, 0, 0};
};

// out[i*out_row + j] = bias[j] + residual[..]
//   + sum_{t < taps} sum_{l < length} a[t*a_tap + i*a_row + l] * b[j*b_row + t*length + l]
// for a handful of columns: vectors run along l, not along j.
// The same struct without a_step, b_panel and `more`.
using Dots = Product;

// A batch of images as a filter sees it: two tensors side by side along channels, enlarged x2 when
// `enlarge` is set. h and w are those of the stored tensors.
struct Image {
  const float* x0;
  const float* x1;  // or null
  int64_t h, w, c0, c1;
  bool enlarge;

  int64_t c() const { return c0 + c1; }
  int64_t seen_h() const { return enlarge ? 2 * h : h; }
  int64_t seen_w() const { return enlarge ? 2 * w : w; }
};

// A run of Winograd tiles: tile number (n*down + i)*across + j covers the 4x4 outputs at (4i, 4j).
struct TileRun {
  int64_t down, across;
  int64_t first, count;
};

// V[xi][tile][c] = (B^T d B)[xi] for the 6x6 inputs d around each tile; see conv2d_leaf_winograd.h.
struct InputTransform {
  Image image;
  TileRun tiles;
  const float* zeros;  // as many zeros as the image has channels: what lies outside the image
  float* v;
  int64_t v_xi, v_tile;  // distances from one xi and one tile to the next
};

// y = (A^T m A) for each tile, plus bias and residual, clipped to the image. With `pool` the 4x4
// outputs are summed 2x2 (the transpose of enlarging) and h, w are those of the small image.
struct OutputTransform {
  const float* m;
  int64_t m_xi, m_tile;
  TileRun tiles;
  int64_t channels;       // to write
  int64_t h, w, y_pixel;  // output image, and the distance between its pixels
  const float* bias;      // or null
  const float* residual;  // or null, laid out as y
  float* y;
  bool enlarged;  // the input was enlarged: components of the point -1 are 0 and not stored in m
  bool pool;
};

// Z[xi][tile][k] = (A dy A^T)[xi] for the 4x4 output gradients of each tile, 0 outside the image.
struct GradientTransform {
  const float* dy;
  TileRun tiles;
  int64_t h, w, dy_pixel;  // image, and the distance between its pixels
  int64_t channels;
  const float* zeros;
  float* z;
  int64_t z_xi, z_tile;
};

// u[xi] = (G w G^T)[xi] for `count` filters side by side: w[r*3 + s] and u[xi] are rows of them.
struct FilterTransform {
  const float* w;
  int64_t w_tap;
  float* u;
  int64_t u_xi;
  int64_t count;  // multiple of kLanesMax
};

// w[r*3 + s] = (G^T u G)[r, s]: the transpose of the above, for gradients.
struct FilterGradient {
  const float* u;
  int64_t u_xi;
  float* w;
  int64_t w_tap;
  int64_t count;  // multiple of kLanesMax
  bool enlarged;  // components of the point -1 are 0 and not stored in u
};

struct Leaves {
  void (*product)(const Product&);
  void (*dots)(const Dots&);
  void (*input_transform)(const InputTransform&);
  void (*output_transform)(const OutputTransform&);
  void (*gradient_transform)(const GradientTransform&);
  void (*filter_transform)(const FilterTransform&);
  void (*filter_gradient)(const FilterGradient&);
};

namespace v1 {
extern const Leaves kLeaves;
}
namespace v3 {
extern const Leaves kLeaves;
}
namespace v4 {
extern const Leaves kLeaves;
}

inline const Leaves& leaves(Isa isa) {
#if defined(__x86_64__)
  return isa == Isa::kV4 ? v4::kLeaves : isa == Isa::kV3 ? v3::kLeaves : v1::kLeaves;
#else
  (void)isa;
  return v1::kLeaves;
#endif
}

// The point a of the Winograd transforms (conv2d_leaf_winograd.h).
inline constexpr float kWinogradPoint = 0.625f;

// Winograd F(4x4, 3x3): 6 x 6 components per tile of 4 x 4 outputs.
inline constexpr int kTile = 4, kPatch = 6, kXi = kPatch * kPatch;

// Component xi belongs to a pair of points, and the point -1 (index 2) sees nothing in an enlarged
// image: there are 25 components to multiply instead of 36.
constexpr bool vanishes_when_enlarged(int xi) {
  return xi / kPatch == 2 || xi % kPatch == 2;
}

}  // namespace diffscm::kernels::cpu
