// A whole network of small images in one launch: a block takes one image at a time through a list
// of layers, its activations in shared memory, the weights streamed from the L2. No operator of the
// catalogue, but what calls many of them: models/whole_network.h makes the list of a U-Net.
//
// Activations are planes: 32 channels of all pixels, bf16. A layer names a plane by where it begins
// in the block's arena of shared memory, in bytes, a multiple of 128. A tensor is a list of planes,
// and so are two that are concatenated.
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"

namespace diffscm::kernels {

struct WholeNetworkLayer {
  static constexpr int kPlaneChannels = 32;
  static constexpr int kMostPlanes = 6;     // of an input
  static constexpr int kMostOutPlanes = 2;  // of one layer's output
  static constexpr int kNone = -1;

  enum class Kind : int32_t {
    stem,         // x to planes: 3x3, f32 weights
    convolution,  // planes to planes
    attention,    // q, k, v as the per-head layout of kernels/attention.h has them, to planes
    save,         // planes to device memory, ...
    restore,      // ... and back
    last,         // planes to y: 3x3, f32 weights
  };
  // Null where there is none.
  const float* gamma;          // [C], of the input's norm
  const float* beta;           // [C]
  const float* bias;           // of stem, convolution, last
  const float* shortcut_bias;  // of convolution
  const float* weight;  // stem [32 out_planes,3,3,image_channels], last [image_channels,3,3,C]

  Kind kind;

  // The input: planes of height x width.
  int32_t height, width, planes;
  int32_t in[kMostPlanes];

  // convolution, last: group norm of the input (kernels/group_norm.h), if groups > 0. Plane i goes
  // to normalised[i], which may be in[i] itself. `at_once` of them are normalised before their
  // products are made, then as many more: those of different rounds may share their place.
  int32_t groups, silu;
  float eps;
  int32_t scale_shift;  // where in an image's row of `told` they are, 2C numbers; kNone
  int32_t at_once;
  int32_t normalised[kMostPlanes];

  // convolution: for each of out_height x out_width places (p, q) and each tap (i, j) below `side`
  //   out[p out_step + out_y][q out_step + out_x] +=
  //     in[p stride + tap_y + i][q stride + tap_x + j] weight
  // plus bias, shortcut_bias, the numbers of `told` at told_bias, the planes `added` and a 1x1
  // convolution of the planes `shortcut`. `out` may be planes that the layer reads. The weights are
  // the next stages of the list. stem, attention, last: `out` only, of the input's size.
  int32_t side, tap_y, tap_x, stride;
  int32_t out_height, out_width, out_planes, out_row, out_step, out_y, out_x;
  int32_t out[kMostOutPlanes];
  int32_t told_bias;              // kNone
  int32_t added[kMostOutPlanes];  // kNone
  int32_t shortcuts;              // planes
  int32_t shortcut[kMostPlanes];

  int32_t image_channels;  // stem, last: 1 to 4
  int32_t scratch;         // stem, last: a part of the arena, of scratch_bytes()

  int32_t heads;  // attention: of C = 32 out_planes channels, C / heads = 16, 32 or 64
  int32_t saved;  // save, restore: where in the block's saved_bytes

  constexpr int taps() const { return side * side; }
  // Of the weights and, for stem, of the image.
  constexpr int64_t scratch_bytes() const {
    const int64_t channels = kPlaneChannels * (kind == Kind::stem ? out_planes : planes);
    return 4 * image_channels * (9 * channels + (kind == Kind::stem ? height * width : 0));
  }
};

// The weights of up to six taps (three, for two planes of output) of one plane, as they are
// multiplied: [tap][plane of output][k16][pair of n8][lane][8], whole_network_pack's order.
struct alignas(16) WholeNetworkStage {
  static constexpr int kBytes = 12 << 10;
  static constexpr int taps_of(int out_planes) { return 6 / out_planes; }

  const bf16* weights;
  int32_t bytes, unused;
};

// y = the network's answer to x. Layers and stages are in the target's memory, in order. Numerics:
// activations bf16, sums and norms f32, as with the operators; sums are not rounded between a
// convolution and its shortcut. An image's bits do not depend on the others.
struct WholeNetworkArgs {
  int64_t n, height, width, channels;
  const WholeNetworkLayer* layers;
  int64_t layer_count;
  const WholeNetworkStage* stages;
  int64_t stage_count;
  const float* x;     // [N, H, W, channels]
  const float* told;  // [N, told_width]
  int64_t told_width;
  float* y;                          // [N, H, W, channels]
  int64_t arena_bytes, saved_bytes;  // of a block
};
void check(const WholeNetworkArgs&);

// The weights of one convolution in the order of the stages: [plane][tap][plane of
// output][k16][pair of n8][lane][8]. From [K, filter, filter, C = 32 planes], its output channels
// [first_out, + 32 out_planes). phase -1: every tap as it is. 0 .. 3: filter 3
// on an image that is enlarged x2, output rows 2 p + phase / 2 and columns 2 q + phase % 2: four
// taps, sums of those that read the same pixel.
struct WholeNetworkPackArgs {
  int64_t k, filter, c;
  int64_t planes, first_out, out_planes;
  int phase;
  const float* weight;  // [K, filter, filter, C]
  bf16* packed;
  constexpr int64_t taps() const { return phase >= 0 ? 4 : filter * filter; }
  constexpr int64_t numel() const { return planes * taps() * out_planes * 32 * 32; }
};
void check(const WholeNetworkPackArgs&);

struct Stream;

// What a target that can do this has; its arguments are checked by whoever calls.
struct WholeNetwork {
  int64_t (*arena_bytes)();          // the largest arena that a block can have on this device
  int (*most_rows)(int out_planes);  // places of one convolution's output
  void (*run)(const WholeNetworkArgs&, Stream);
  void (*pack)(const WholeNetworkPackArgs&, Stream);
};

}  // namespace diffscm::kernels
