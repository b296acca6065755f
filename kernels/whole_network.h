// A whole network of small, square images in one launch: a block takes one image at a time through
// a list of layers, its activations in shared memory, the weights streamed from the L2. No operator
// of the catalogue, but what calls many of them: models/whole_network.h makes the list of a U-Net.
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"

namespace diffscm::kernels {

// Activations are planes: 32 channels of all pixels, bf16, with zeros around the image. A tensor is
// a list of planes, and so are two that are concatenated.
//
// A plane lies in four chunks of eight channels, and a chunk in positions of 16 bytes. A row of the
// image takes pitch() positions, of which the first is the zero to the left of it and to the right
// of the row before; a row of zeros is above, and the next chunk's is below:
//
//   0  0 0 .. 0          matrix row r = y pitch() + x is pixel (y, x), at position
//   0  pixels of row 0   first() + r; where x = side, it is the zero after a row
//   0  pixels of row 1
//   ..
//
// So eight neighbouring rows are 128 bytes one after the other, wherever they begin: what wgmma
// reads of an operand without swizzling. A filter's tap only moves where that begins.
struct WholeNetworkPlane {
  static constexpr int kChannels = 32, kChunks = 4, kTileRows = 64;  // of one product

  int32_t side;

  constexpr int pitch() const { return side + 1; }
  constexpr int chunk() const { return (side + 1) * pitch(); }  // positions
  constexpr int first() const { return pitch() + 1; }
  constexpr int rows() const { return side * pitch() - 1; }
  constexpr int tiles() const { return (rows() + kTileRows - 1) / kTileRows; }
  // 2^20 / divisor, rounded up: with it a multiplication and a shift divide.
  static constexpr int inverse_of(int divisor) { return ((1 << 20) - 1 + divisor) / divisor; }
  // The last chunk is followed by as much as the last tile reads at the last tap of a 3x3 filter.
  constexpr int positions() const { return 3 * chunk() + tiles() * kTileRows + 2 * pitch() + 2; }
  // Behind them: of each channel the sum over all pixels and that of the squares, f32.
  constexpr int sums_at() const { return 16 * positions(); }
  constexpr int bytes() const { return (sums_at() + 8 * kChannels + 127) / 128 * 128; }
};

// A place of a plane is where it begins in the block's arena of shared memory, in bytes, a multiple
// of 128; or, below 0, ~ of where it waits in the block's `saved` bytes of device memory.
struct WholeNetworkLayer {
  static constexpr int kMostPlanes = 6;     // of an input
  static constexpr int kMostOutPlanes = 2;  // of one layer's output
  static constexpr int kNone = -1;

  enum class Kind : int32_t {
    unfold,       // x to the planes `read`: what a 3x3 filter sees, as channels (below)
    convolution,  // planes to planes
    last,         // planes to y
    attention,    // q, k, v as the per-head layout of kernels/attention.h has them, to planes
    save,         // planes to device memory, from ~saved on
  };
  // Null where there is none.
  const float* gamma;  // [C], of the input's norm
  const float* beta;
  const float* out_gamma;  // [C], of the output's norm
  const float* out_beta;
  const float* bias;           // of convolution, last
  const float* shortcut_bias;  // of convolution

  Kind kind;
  int32_t side, planes;  // of the input
  int32_t inverse;       // WholeNetworkPlane::inverse_of its pitch
  int32_t in[kMostPlanes];

  // convolution, last: group norm of the input (kernels/group_norm.h), if groups > 0. Plane i goes
  // to read[i]. `at_once` of them are normalised before their products are made, then as many more:
  // those of different rounds may share their place. Without norm `read` is `in`, all at once.
  int32_t groups, silu;
  float eps;
  int32_t at_once;
  int32_t read[kMostPlanes];

  // convolution, last: of each pixel (p, q) of the input whose coordinates `stride` divides, with
  // taps (i, j) below `taps_side`,
  //   out[p / stride * out_step + out_y][q / stride * out_step + out_x] =
  //     sum of read[p + tap_y + i][q + tap_x + j] weight
  // plus bias, shortcut_bias, the numbers of `told` at told_bias and a 1x1 convolution of the
  // planes `shortcut`; those that are outside come last, and one after the other to the place
  // `restored`. `out` may be planes that the layer reads. The weights are the next stages of the
  // list.
  int32_t taps_side, tap_y, tap_x, stride;
  int32_t out_side, out_planes, out_step, out_y, out_x;
  int32_t out[kMostOutPlanes];
  int32_t joins;      // the output's other pixels are there already: what they are, and their sums
  int32_t told_bias;  // kNone
  int32_t shortcuts;  // planes
  int32_t shortcut[kMostPlanes];
  int32_t restored;

  // convolution: group norm and SiLU of the output, if out_groups > 0; scale_shift: where in an
  // image's row of `told` 2C numbers are; kNone.
  int32_t out_groups, scale_shift;

  int32_t image_channels;  // unfold, last: 1 to 4
  int32_t heads;           // attention: of C = 32 out_planes channels, C / heads = 16, 32 or 64
  int32_t saved;           // save

  constexpr int taps() const { return taps_side * taps_side; }
  // Columns of one product; of `last` two for each channel of the image, and zeros.
  constexpr int columns() const {
    return WholeNetworkPlane::kChannels * (kind == Kind::last ? 1 : out_planes);
  }
};

// unfold: the image stays as exact as with the operators, nearly f32, in bf16: x = high + low,
// w = high + low, and x w = x_high w_high + x_low w_high + x_high w_low. Of C channels of image
// there are 3 * 9 C channels [which product][tap][c], in unfolded_planes(C) planes, then zeros.
// In the same way `last` has two columns for each channel of the image, w's high and low part.
constexpr int unfolded_planes(int image_channels) {
  return (27 * image_channels + WholeNetworkPlane::kChannels - 1) / WholeNetworkPlane::kChannels;
}

// Weights of one or more units, each one tap of one plane: [unit][chunk of 8 channels][column][8],
// as wgmma reads them. A stage has as many as fit of one round of a layer.
struct alignas(16) WholeNetworkStage {
  static constexpr int kBytes = 20 << 10;
  static constexpr int unit_bytes(int columns) {
    return columns * WholeNetworkPlane::kChannels * int{sizeof(bf16)};
  }
  static constexpr int units_of(int columns) { return kBytes / unit_bytes(columns); }

  const bf16* weights;
  int32_t bytes, unused;
};

// y = the network's answer to x. Layers and stages are in the target's memory, in order. Numerics:
// activations bf16, sums and norms f32, as with the operators; sums are not rounded between a
// convolution and its shortcut or its output's norm; SiLU by an approximate tanh, 2^-11. An image's
// bits do not depend on the others.
struct WholeNetworkArgs {
  int64_t n, side, channels;
  const WholeNetworkLayer* layers;
  int64_t layer_count;
  const WholeNetworkStage* stages;
  int64_t stage_count;
  const float* x;     // [N, side, side, channels]
  const float* told;  // [N, told_width]
  int64_t told_width;
  float* y;                          // [N, side, side, channels]
  int64_t arena_bytes, saved_bytes;  // of a block
};
void check(const WholeNetworkArgs&);

// The weights of one convolution in the order of the stages: [plane][tap][chunk][column][8], from
// [K, filter, filter, C], its output channels [first_out, + columns).
struct WholeNetworkPackArgs {
  enum class Use : int32_t {
    taps,      // every tap as it is
    phase,     // filter 3 on an image that is enlarged x2, rows 2 p + phase / 2 and columns
               // 2 q + phase % 2 of the output: four taps, sums of those that read the same pixel
    identity,  // no weight: output channel k is input channel k
    unfolded,  // filter 3, of the first layer: one tap (unfold, above)
    last,      // filter 3, of the last: columns 2 k and 2 k + 1 are output channel k's parts
  };
  Use use;
  int32_t phase;
  int64_t k, filter, c;
  int64_t planes, first_out, columns;
  const float* weight;
  bf16* packed;
  constexpr int64_t taps() const {
    return use == Use::phase ? 4 : use == Use::taps || use == Use::last ? filter * filter : 1;
  }
  constexpr int64_t numel() const {
    return planes * taps() * columns * WholeNetworkPlane::kChannels;
  }
};
void check(const WholeNetworkPackArgs&);

struct Stream;

// What a target that can do this has; its arguments are checked by whoever calls.
struct WholeNetwork {
  bool (*usable)();                   // whether this device has what the kernel is written for
  int64_t (*arena_bytes)();           // the largest arena that a block can have on this device
  int (*most_tiles)(int out_planes);  // of a layer's input
  void (*run)(const WholeNetworkArgs&, Stream);
  void (*pack)(const WholeNetworkPackArgs&, Stream);
};

}  // namespace diffscm::kernels
