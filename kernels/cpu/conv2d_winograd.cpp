// The Winograd rung F(4x4, 3x3), forward and backward to input.
//
// A work item is a block of tiles (4x4 outputs each, from any image of the batch) and a range of
// output channels. One thread does the three steps of an item while everything stays in its L2
// cache:
//   1. input transform: 6x6 inputs of each tile -> V[xi][tile][c]; padding, concatenation and
//      enlargement are resolved here by pointers, without building any of them
//   2. 36 products, one per component xi:  M[xi] = V[xi] * U[xi]  ([tiles, C] x [C, K])
//   3. output transform: M -> 4x4 outputs per tile, with bias and residual
// Per output that is 2.25 multiplications instead of 9; on an enlarged image 11 components vanish
// and it is 1.56 (see conv2d_leaf_winograd.h). Backward to input is the same convolution with
// flipped, transposed weights; for an enlarged image the outputs are summed 2x2.
#include "kernels/cpu/conv2d_winograd.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv2d_workspace.h"
#include "kernels/cpu/parallel.h"

namespace diffscm::kernels::cpu::winograd {

bool supports(const ConvShape& shape) {
  return shape.r == 3 && shape.stride == 1;
}

bool prefers(const ConvShape& shape) {
  return supports(shape) && shape.c() >= 8 && shape.k >= 8;
}

const float* zeros(int64_t channels) {
  float* z = workspace(Workspace::kZeros, padded(channels));
  std::memset(z, 0, padded(channels) * sizeof(float));
  return z;
}

int64_t packed_floats(const ConvShape& s, bool backward) {
  const int64_t in = backward ? s.k : s.c(), out = backward ? s.c() : s.k;
  return kXi * u_pitch(in * padded(out));
}

namespace {

// The filters of output channels [first, first + count), transformed: u[xi][out / 16][in][16].
// Backward, input and output channels change places and the filter is turned round. Blocks of 16
// channels by 16 are brought together in a buffer first, where the transform reads whole vectors.
void transform_filters(const ConvShape& s, bool backward, const float* weight, int64_t first,
                       int64_t count, float* u, Isa isa) {
  constexpr int64_t kBlock = kLanesMax, kTaps = 9;
  const int64_t c = s.c(), in_channels = backward ? s.k : c,
                pitch = u_pitch(in_channels * padded(count));
  const int64_t out_step = backward ? 1 : kTaps * c, in_step = backward ? kTaps * c : 1;
  const int64_t panels = padded(count) / kBlock, blocks = (in_channels + kBlock - 1) / kBlock;
  parallel_tasks(panels * blocks, kXi * kBlock * kBlock * panels * blocks, [&](int64_t task) {
    const int64_t out0 = task / blocks * kBlock, in0 = task % blocks * kBlock;
    const int64_t outs = std::min(kBlock, count - out0), ins = std::min(kBlock, in_channels - in0);
    alignas(64) float taps[kTaps * kBlock * kBlock] = {};
    for (int64_t t = 0; t < kTaps; ++t) {
      const float* w =
          weight + (backward ? kTaps - 1 - t : t) * c + (first + out0) * out_step + in0 * in_step;
      float* block = taps + t * kBlock * kBlock;
      for (int64_t i = 0; i < ins; ++i)
        for (int64_t o = 0; o < outs; ++o) block[i * kBlock + o] = w[i * in_step + o * out_step];
    }
    leaves(isa).filter_transform({.w = taps,
                                  .w_tap = kBlock * kBlock,
                                  .u = u + (out0 * in_channels + in0 * kBlock),
                                  .u_xi = pitch,
                                  .count = ins * kBlock});
  });
  for (int xi = 0; xi < kXi; ++xi) std::fill_n(u + (xi + 1) * pitch - kLanesMax, kLanesMax, 0.0f);
}

}  // namespace

void pack(const Conv2dPackArgs& a, Isa isa) {
  const int64_t out = a.backward ? a.shape.c() : a.shape.k;
  transform_filters(a.shape, a.backward, a.weight, 0, out, a.packed, isa);
}

namespace {

struct Destination {
  float* y;
  int64_t channels;
};

struct Channels {
  int64_t begin, end;
};

struct Convolution {
  Image in;
  int64_t n;
  const float* u;     // [xi][out / 16][in][16], of
  Channels computed;  // these output channels
  const float* bias;
  const float* residual;
  Destination out[2];  // output channels in turn
  bool pool;
  bool worth_threads;
  Isa isa;

  int64_t out_channels() const { return out[0].channels + out[1].channels; }
  bool skips() const { return in.enlarge || pool; }
};

void convolve_item(const Convolution& c, TileRun tiles, Channels part) {
  const Leaves& leaf = leaves(c.isa);
  const int64_t in = c.in.c(), u_channels = padded(c.computed.end - c.computed.begin);
  const int64_t v_xi = xi_pitch(tiles.count, in);
  const int64_t m_tile = padded(part.end - part.begin), m_xi = xi_pitch(tiles.count, m_tile);
  float* v = workspace(Workspace::kInput, kXi * v_xi);
  float* m = workspace(Workspace::kOutput, kXi * m_xi);

  leaf.input_transform({c.in, tiles, zeros(in), v, v_xi, padded(in)});
  for (int xi = 0; xi < kXi; ++xi) {
    if (c.skips() && vanishes_when_enlarged(xi)) continue;
    leaf.product({.a = v + xi * v_xi,
                  .a_tap = 0,
                  .a_row = padded(in),
                  .a_step = 1,
                  .b = c.u + xi * u_pitch(in * u_channels) + (part.begin - c.computed.begin) * in,
                  .b_panel = kLanesMax * in,
                  .b_row = kLanesMax,
                  .taps = 1,
                  .length = in,
                  .rows = tiles.count,
                  .columns = m_tile,
                  .bias = nullptr,
                  .residual = nullptr,
                  .out = m + xi * m_xi,
                  .out_row = m_tile});
  }
  const int64_t shrink = c.pool ? 2 : 1;
  int64_t first = 0;  // output channel at which the destination begins
  for (const Destination& d : c.out) {
    const int64_t begin = std::max(part.begin, first);
    const int64_t end = std::min(part.end, first + d.channels);
    if (begin < end)
      leaf.output_transform({.m = m + (begin - part.begin),
                             .m_xi = m_xi,
                             .m_tile = m_tile,
                             .tiles = tiles,
                             .channels = end - begin,
                             .h = c.in.seen_h() / shrink,
                             .w = c.in.seen_w() / shrink,
                             .y_pixel = d.channels,
                             .bias = c.bias ? c.bias + begin : nullptr,
                             .residual = c.residual ? c.residual + (begin - first) : nullptr,
                             .y = d.y + (begin - first),
                             .enlarged = c.skips(),
                             .pool = c.pool});
    first += d.channels;
  }
}

// Tiles per item: V and M of an item, 36 * tiles * (C + K) floats, should fit in half an L2 cache,
// while many tiles share each pass over U. Multiples of 12 suit the register tiles.
int64_t block_tiles(int64_t channels) {
  constexpr int64_t kFloats = 1 << 17;
  return std::clamp<int64_t>(round_up(kFloats / (kXi * channels), 12), 24, 96);
}

void convolve(const Convolution& c) {
  const int64_t down = tiles_along(c.in.seen_h()), across = tiles_along(c.in.seen_w());
  const int64_t tiles = c.n * down * across, team = threads();
  const int64_t columns = padded(c.computed.end - c.computed.begin);
  // Blocks of even size, at least one per thread; when even single images are too small for that,
  // output channels are split as well and each part repeats the (cheap) input transform.
  const int64_t largest = block_tiles(padded(c.in.c()) + columns);
  int64_t blocks = (tiles + largest - 1) / largest;
  if (blocks < team) blocks = std::clamp<int64_t>(tiles / 12, 1, team);
  const int64_t parts = std::clamp<int64_t>((team + blocks - 1) / blocks, 1, (columns + 31) / 32);
  parallel_tasks_if(c.worth_threads, blocks * parts, [&](int64_t item) {
    const int64_t block = item / parts, part = item % parts, vectors = columns / kLanesMax;
    const int64_t first = tiles * block / blocks, last = tiles * (block + 1) / blocks;
    convolve_item(c, {down, across, first, last - first},
                  {c.computed.begin + vectors * part / parts * kLanesMax,
                   c.computed.begin + vectors * (part + 1) / parts * kLanesMax});
  });
}

// With weights that nobody transformed, output channels go in groups whose U stays in the cache
// between its making and its use.
void convolve(Convolution c, const ConvShape& shape, bool backward, const float* weight) {
  constexpr int64_t kFloats = 1 << 22;
  const int64_t in = c.in.c(), out = c.out_channels();
  const int64_t group =
      std::min(out, std::max<int64_t>(kFloats / (kXi * in) / kLanesMax, 2) * kLanesMax);
  for (int64_t first = 0; first < out; first += group) {
    c.computed = {first, std::min(out, first + group)};
    const int64_t count = c.computed.end - first;
    float* u = workspace(Workspace::kPacked, kXi * u_pitch(in * padded(count)));
    transform_filters(shape, backward, weight, first, count, u, c.isa);
    c.u = u;
    convolve(c);
  }
}

}  // namespace

void conv2d(const Conv2dArgs& a, Isa isa) {
  const ConvShape& s = a.shape;
  const Convolution c{.in = {a.x0, a.x1, s.h, s.w, s.c0, s.c1, s.upsample},
                      .n = s.n,
                      .u = a.packed,
                      .computed = {0, s.k},
                      .bias = a.bias,
                      .residual = a.residual,
                      .out = {{a.y, s.k}, {nullptr, 0}},
                      .pool = false,
                      .worth_threads = worth_threads(s),
                      .isa = isa};
  a.packed ? convolve(c) : convolve(c, s, false, a.weight);
}

void conv2d_backward_input(const Conv2dBackwardInputArgs& a, Isa isa) {
  const ConvShape& s = a.shape;
  const Convolution c{.in = {a.dy, nullptr, s.p(), s.q(), s.k, 0, false},
                      .n = s.n,
                      .u = a.packed,
                      .computed = {0, s.c()},
                      .bias = nullptr,
                      .residual = nullptr,
                      .out = {{a.dx0, s.c0}, {a.dx1, s.c1}},
                      .pool = s.upsample,
                      .worth_threads = worth_threads(s),
                      .isa = isa};
  a.packed ? convolve(c) : convolve(c, s, true, a.weight);
}

}  // namespace diffscm::kernels::cpu::winograd
