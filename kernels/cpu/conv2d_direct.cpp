// The direct rung, forward and backward to input: rows of output pixels as register-tiled products.
//
// A work item is a band of rows of one image. Its input window is copied once into a workspace with
// a border of zeros, which resolves padding and concatenation; there a filter row is one run of
// taps x C floats (NHWC), and one product computes a whole output row. 1x1 filters with stride 1
// need no window: pixels are the rows of a matrix.
#include "kernels/cpu/conv2d_direct.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv2d_workspace.h"
#include "kernels/cpu/parallel.h"

namespace diffscm::kernels::cpu::direct {

void copy_window(const Image& image, int64_t n, int64_t row, int64_t rows, int64_t column,
                 int64_t columns, float* out) {
  const int64_t c = image.c();
  const int64_t from = std::clamp<int64_t>(-column, 0, columns);  // inside columns [from, to)
  const int64_t to = std::clamp<int64_t>(image.seen_w() - column, from, columns);
  for (int64_t i = 0; i < rows; ++i, out += columns * c) {
    const int64_t h = row + i;
    if (h < 0 || h >= image.seen_h()) {
      std::memset(out, 0, columns * c * sizeof(float));
      continue;
    }
    std::memset(out, 0, from * c * sizeof(float));
    std::memset(out + to * c, 0, (columns - to) * c * sizeof(float));
    const int64_t line = (n * image.h + (image.enlarge ? h / 2 : h)) * image.w;
    if (image.c1 == 0 && !image.enlarge) {
      std::memcpy(out + from * c, image.x0 + (line + column + from) * c,
                  (to - from) * c * sizeof(float));
      continue;
    }
    for (int64_t j = from; j < to; ++j) {
      const int64_t pixel = line + (image.enlarge ? (column + j) / 2 : column + j);
      std::memcpy(out + j * c, image.x0 + pixel * image.c0, image.c0 * sizeof(float));
      if (image.c1 > 0)
        std::memcpy(out + j * c + image.c0, image.x1 + pixel * image.c1, image.c1 * sizeof(float));
    }
  }
}

namespace {

struct Destination {
  float* y;
  int64_t channels;
};

struct Correlation {
  Image in;
  int64_t n;
  Axis axis;
  const float* packed;
  const float* bias;
  const float* residual;
  Destination out[2];  // output channels in turn
  int64_t out_h, out_w;
  bool worth_threads;
  Isa isa;

  int64_t out_channels() const { return out[0].channels + out[1].channels; }
};

// Runs `p`, set for output channel 0 and pixel 0, for `pixel` and all channels of both
// destinations.
void run_product(const Correlation& c, Product p, int64_t pixel, int64_t pixel_step) {
  const bool dots = uses_dots(c.out_channels());
  for (const Destination& d : c.out) {
    if (d.channels == 0) continue;
    p.columns = d.channels;
    p.out = d.y + pixel * d.channels;
    p.out_row = pixel_step * d.channels;
    (dots ? leaves(c.isa).dots : leaves(c.isa).product)(p);
    p.b += d.channels * (dots ? p.b_row : 1);
  }
}

// 1x1, stride 1: [pixels, C0 | C1] x [C, K].
void pointwise(const Correlation& c) {
  const int64_t pixels = c.n * c.out_h * c.out_w, channels = c.in.c();
  const bool dots = uses_dots(c.out_channels());
  const int64_t b_row = dots ? channels : padded(c.out_channels());
  const int64_t chunk = std::clamp<int64_t>(round_up(pixels / (2 * threads()) + 1, 14), 14, 224);
  const int64_t chunks = (pixels + chunk - 1) / chunk;
  parallel_tasks_if(c.worth_threads, chunks, [&](int64_t i) {
    const int64_t pixel = i * chunk;
    Product p{.a = c.in.x0 + pixel * c.in.c0,
              .a_tap = 0,
              .a_row = c.in.c0,
              .a_step = 1,
              .b = c.packed,
              .b_panel = kLanesMax,
              .b_row = b_row,
              .taps = 1,
              .length = c.in.c0,
              .rows = std::min(chunk, pixels - pixel),
              .columns = 0,
              .bias = c.bias,
              .residual = c.residual ? c.residual + pixel * c.out[0].channels : nullptr,
              .out = nullptr,
              .out_row = 0};
    if (c.in.c1 > 0 && !dots) p.more = {c.in.x1 + pixel * c.in.c1, c.in.c1, c.in.c1};
    run_product(c, p, pixel, 1);
    if (c.in.c1 > 0 && dots) {
      p.a = c.in.x1 + pixel * c.in.c1;
      p.a_row = p.length = c.in.c1;
      p.b += c.in.c0;
      p.bias = nullptr;
      p.residual = c.out[0].y + pixel * c.out[0].channels;
      run_product(c, p, pixel, 1);
    }
  });
}

// Rows [begin, end) of one image, in units of axis.phase_count output rows.
void correlate_band(const Correlation& c, int64_t n, int64_t begin, int64_t end) {
  const Axis& axis = c.axis;
  const int phases = axis.phase_count;
  const int64_t channels = c.in.c(), out_channels = c.out_channels();
  const int64_t across = (c.out_w + phases - 1) / phases;
  const int64_t extent = axis.last() - axis.first() + 1;
  const int64_t rows = (end - begin - 1) * axis.stride + extent;
  const int64_t columns = (across - 1) * axis.stride + extent;
  float* window = workspace(Workspace::kImage, rows * columns * channels);
  copy_window(c.in, n, begin * axis.stride + axis.first(), rows, axis.first(), columns, window);

  for (int f = 0; f < phases; ++f)
    for (int g = 0; g < phases; ++g) {
      const Phase &down = axis.phases[f], &side = axis.phases[g];
      const bool empty = down.taps * side.taps == 0;
      const float* b = c.packed + packed_offset(axis, channels, out_channels, f, g);
      const int64_t length = empty ? 0 : side.taps * channels;
      const int64_t b_row = uses_dots(out_channels) ? down.taps * length : padded(out_channels);
      const int64_t pixels = (c.out_w - g + phases - 1) / phases;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t h = i * phases + f;
        if (h >= c.out_h || pixels == 0) continue;
        const int64_t pixel = (n * c.out_h + h) * c.out_w + g;
        const int64_t top = empty ? 0 : (i - begin) * axis.stride + down.first - axis.first();
        const int64_t left = empty ? 0 : side.first - axis.first();
        const float* residual = c.residual ? c.residual + pixel * out_channels : nullptr;
        run_product(c,
                    {.a = window + (top * columns + left) * channels,
                     .a_tap = columns * channels,
                     .a_row = axis.stride * channels,
                     .a_step = 1,
                     .b = b,
                     .b_panel = kLanesMax,
                     .b_row = b_row,
                     .taps = empty ? 0 : down.taps,
                     .length = length,
                     .rows = pixels,
                     .columns = 0,
                     .bias = c.bias,
                     .residual = residual,
                     .out = nullptr,
                     .out_row = 0},
                    pixel, phases);
      }
    }
}

void correlate(const Correlation& c) {
  const Axis& axis = c.axis;
  if (axis.phase_count == 1 && axis.stride == 1 && axis.phases[0].taps == 1) return pointwise(c);
  // Enough bands for all threads, and few enough rows for the window to stay in the L2 cache.
  const int64_t units = (c.out_h + axis.phase_count - 1) / axis.phase_count;
  const int64_t row_floats = axis.stride * c.in.seen_w() * c.in.c();
  constexpr int64_t kWindowFloats = 1 << 17;
  const int64_t wanted = (2 * threads() + c.n - 1) / c.n;
  const int64_t bands =
      std::clamp<int64_t>(std::max(wanted, units * row_floats / kWindowFloats), 1, units);
  parallel_tasks_if(c.worth_threads, c.n * bands, [&](int64_t item) {
    const int64_t band = item % bands;
    correlate_band(c, item / bands, units * band / bands, units * (band + 1) / bands);
  });
}

}  // namespace

void conv2d(const Conv2dArgs& a, Isa isa) {
  const ConvShape& s = a.shape;
  correlate({.in = {a.x0, a.x1, s.h, s.w, s.c0, s.c1, false},
             .n = s.n,
             .axis = axis_of(s, false),
             .packed = a.packed,
             .bias = a.bias,
             .residual = a.residual,
             .out = {{a.y, s.k}, {nullptr, 0}},
             .out_h = s.p(),
             .out_w = s.q(),
             .worth_threads = worth_threads(s),
             .isa = isa});
}

void conv2d_backward_input(const Conv2dBackwardInputArgs& a, Isa isa) {
  const ConvShape& s = a.shape;
  correlate({.in = {a.dy, nullptr, s.p(), s.q(), s.k, 0, false},
             .n = s.n,
             .axis = axis_of(s, true),
             .packed = a.packed,
             .bias = nullptr,
             .residual = nullptr,
             .out = {{a.dx0, s.c0}, {a.dx1, s.c1}},
             .out_h = s.h,
             .out_w = s.w,
             .worth_threads = worth_threads(s),
             .isa = isa});
}

}  // namespace diffscm::kernels::cpu::direct
