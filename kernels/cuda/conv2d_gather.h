// Convolution and its transpose, seen as one thing: a gather.
//
//   out[n, y, x, o] = sum_{i, j, c} source[n, at(y, i), at(x, j), c] * weight[o, row(i), row(j), c]
//
// Forward, the source is the input image and o an output channel. Backward to input, the source is
// dy, o an input channel, and the filter is walked backwards: an input element gathers from every
// output that it fed. What differs between a plain, a strided and an upsampling convolution and
// their transposes is only where the taps (i, j) of an output lie, and that is the same question
// for rows and columns: struct Axis answers it. The tiled and tensor-core rungs are written once,
// over this, and serve both directions.
//
// As a matrix product: the rows are output pixels, the columns are the o, and the summed index runs
// over taps and, within a tap, over the source's channels.
#pragma once

#include "kernels/cuda/device/divisor.h"
#include "kernels/cuda/device/elements.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// One direction, rows or columns. Output y's i-th tap reads, with i' = i % period, source position
//   scale * y + direction * i' + i / period + offset
// if that is in [0, limit), halved `halvings` times, through filter row
//   first + step * i' + again * (i / period)
struct Axis {
  int outputs;  // 0 .. outputs - 1; output y is position spread * y + start of the output image
  int spread, start;
  int taps, period;
  int scale, direction, offset, limit, halvings;
  int first, step, again = 0;

  struct Tap {
    int shift, row;  // the part of the position that does not depend on y; the filter row
  };
  __device__ Tap tap(int i) const {
    const int round = i >= period, inner = round ? i - period : i;
    return {direction * inner + round + offset, first + step * inner + round * again};
  }
  // Whether output y has this tap, and then where.
  __device__ bool find(int y, const Tap& tap, int& position) const {
    position = scale * y + tap.shift;
    const bool inside = static_cast<unsigned>(position) < static_cast<unsigned>(limit);
    position >>= halvings;
    return inside;
  }
};

// Forward: taps walk down the filter; an enlarged image's rows are stored rows, halved.
inline Axis forward_axis(int64_t outputs, int64_t in, const ConvShape& s) {
  const int filter = static_cast<int>(s.r);
  return {.outputs = static_cast<int>(outputs),
          .spread = 1,
          .start = 0,
          .taps = filter,
          .period = filter,
          .scale = s.stride,
          .direction = 1,
          .offset = -filter / 2,
          .limit = static_cast<int>(in),
          .halvings = s.upsample,
          .first = 0,
          .step = 1};
}

// Backward: output p of the convolution has input h = stride * p + r - R/2 as its tap r, so h
// gathers from p = (h - r + R/2) / stride where that is whole. With stride 2 the r that fit depend
// on the parity of h: even and odd h are two phases. An enlarged image's rows 2h and 2h + 1 both
// are row h: its gradient has both their taps, the second's one further (i / period).
inline Axis backward_axis(int64_t in, int64_t outputs, const ConvShape& s, int phase) {
  const int filter = static_cast<int>(s.r), stride = s.stride;
  const int first = (phase + filter / 2) % stride;
  const int period = first < filter ? (filter - 1 - first) / stride + 1 : 0;
  return {.outputs = static_cast<int>((in - phase + stride - 1) / stride),
          .spread = stride,
          .start = phase,
          .taps = s.upsample ? 2 * period : period,
          .period = period,
          .scale = s.upsample ? 2 : 1,
          .direction = -1,
          .offset = (phase + filter / 2 - first) / stride,
          .limit = static_cast<int>(outputs),
          .halvings = 0,
          .first = first,
          .step = stride};
}

// Outputs that have the same taps: all of them, or a quarter of them by parity.
struct Phase {
  Axis y, x;
  Divisor image, row;  // outputs in an image, and in a row of it

  Phase(const Axis& y, const Axis& x)
      : y(y), x(x), image(int64_t{y.outputs} * x.outputs), row(x.outputs) {}

  struct Place {
    int64_t n;
    int y, x;
  };
  // Where a block's first output lies, and the output `distance` further.
  struct Origin {
    int64_t n;
    uint32_t rest;
  };
  __device__ Origin origin(int64_t first) const {
    return {first / image.value(), static_cast<uint32_t>(first % image.value())};
  }
  __device__ Place place(const Origin& origin, int distance) const {
    const uint32_t i = origin.rest + static_cast<uint32_t>(distance), n = image.quotient(i);
    const uint32_t in_image = image.remainder(i, n), row_index = row.quotient(in_image);
    return {origin.n + n, static_cast<int>(row_index),
            static_cast<int>(row.remainder(in_image, row_index))};
  }
};

// Up to four phases; a class of its own because Phase has no default.
struct Phases {
  int count = 0;
  union {
    Phase phase[4];
  };
  Phases() {}
  void add(const Axis& y, const Axis& x) {
    if (y.outputs > 0 && x.outputs > 0) phase[count++] = Phase(y, x);
  }
};

// T is what the source is stored as, Y the result.
template <class T, class Y = T>
struct ConvGather {
  const T *x0, *x1;  // source: two tensors side by side, [n, h, w, c0] and [n, h, w, c1]
  int c0, c1;
  int64_t n;
  int h, w;
  const typename BasicConv2dArgs<T, Y>::Weight*
      weight;  // element (o, row, column, c) at o * out_stride + (row * filter + column) *
  int out_stride, tap_stride, in_stride;  // tap_stride + c * in_stride
  int filter;
  Y *y0, *y1;  // result: [n, out_h, out_w, k0] and [n, out_h, out_w, k1]
  int k0, k1;
  int out_h, out_w;
  const float* bias;  // bias and residual: null, or k1 = 0
  const Y* residual;
  bool vectored_source, vectored_weight, vectored_result;  // four elements at once
  Phases phases;

  __host__ __device__ int channels() const { return c0 + c1; }
  __host__ __device__ int outs() const { return k0 + k1; }
  int64_t outputs(int i) const { return n * phases.phase[i].y.outputs * phases.phase[i].x.outputs; }

  // The pixel's index in the result, given where it lies in its phase.
  __device__ int64_t pixel(const Phase& p, const Phase::Place& at) const {
    return (at.n * out_h + p.y.spread * at.y + p.y.start) * out_w + p.x.spread * at.x + p.x.start;
  }

  // Writes the sums of kWidth neighbouring channels of a pixel, counted in 32 or 64 bits, with bias
  // and residual.
  template <int kWidth, class Pixel>
  __device__ void write(Pixel pixel, int channel, const float (&sums)[kWidth]) const {
    const bool second = channel >= k0;
    const int64_t p = pixel;
    Y* y = second ? y1 + p * k1 + (channel - k0) : y0 + p * k0 + channel;
    const int room = (second ? k0 + k1 : k0) - channel;
    const Y* add = residual ? residual + p * k0 + channel : nullptr;
    if (vectored_result && room >= kWidth) {
      Numbers<kWidth> x;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) x[i] = sums[i];
      if (bias) x += load_numbers<kWidth>(bias + channel);
      if (add) x += load_numbers<kWidth>(add);
      store_numbers(y, x);
      return;
    }
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      if (channel + i >= k0 + k1) break;
      float x = sums[i];
      if (bias) x += bias[channel + i];
      if (add) x += to_float(add[i]);
      Y* to = i < room ? y + i : y1 + pixel * k1 + (channel + i - k0);
      *to = from_float<Y>(x);
    }
  }
};

// A walk over the summed index, `step` channels at a time: taps in order, within a tap the first
// tensor's channels, then the second's. A step never straddles the seam.
struct TapWalk {
  int i = 0, j = 0;
  bool second = false;
  int channel = 0;

  template <class T, class Y>
  __device__ void advance(const ConvGather<T, Y>& g, const Phase& p, int step) {
    channel += step;
    if (channel < (second ? g.c1 : g.c0)) return;
    channel = 0;
    second = !second && g.c1 > 0;
    if (second) return;
    if (++j == p.x.taps) j = 0, ++i;
  }
  template <class T, class Y>
  static __device__ int64_t steps(const ConvGather<T, Y>& g, const Phase& p, int step) {
    return p.y.taps * p.x.taps * (ceil_div(g.c0, step) + ceil_div(g.c1, step));
  }
};

template <class T, class Y>
ConvGather<T, Y> gather(const BasicConv2dArgs<T, Y>& a) {
  const ConvShape& s = a.shape;
  ConvGather<T, Y> g{
      .x0 = a.x0,
      .x1 = a.x1,
      .c0 = static_cast<int>(s.c0),
      .c1 = static_cast<int>(s.c1),
      .n = s.n,
      .h = static_cast<int>(s.h),
      .w = static_cast<int>(s.w),
      .weight = a.weight,
      .out_stride = static_cast<int>(s.r * s.s * s.c()),
      .tap_stride = static_cast<int>(s.c()),
      .in_stride = 1,
      .filter = static_cast<int>(s.r),
      .y0 = a.y,
      .y1 = nullptr,
      .k0 = static_cast<int>(s.k),
      .k1 = 0,
      .out_h = static_cast<int>(s.p()),
      .out_w = static_cast<int>(s.q()),
      .bias = a.bias,
      .residual = a.residual,
      .vectored_source = (s.c0 | s.c1) % 4 == 0 && aligned16(a.x0) && aligned16(a.x1),
      .vectored_weight = (s.c0 | s.c1) % 4 == 0 && aligned16(a.weight),
      .vectored_result =
          s.k % 4 == 0 && aligned16(a.y) && aligned16(a.residual) && aligned16(a.bias),
      .phases = {}};
  g.phases.add(forward_axis(s.p(), s.in_h(), s), forward_axis(s.q(), s.in_w(), s));
  return g;
}

template <class T, class Y>
ConvGather<T, Y> gather(const BasicConv2dBackwardInputArgs<T, Y>& a) {
  const ConvShape& s = a.shape;
  ConvGather<T, Y> g{
      .x0 = a.dy,
      .x1 = nullptr,
      .c0 = static_cast<int>(s.k),
      .c1 = 0,
      .n = s.n,
      .h = static_cast<int>(s.p()),
      .w = static_cast<int>(s.q()),
      .weight = a.weight,
      .out_stride = 1,
      .tap_stride = static_cast<int>(s.c()),
      .in_stride = static_cast<int>(s.r * s.s * s.c()),
      .filter = static_cast<int>(s.r),
      .y0 = a.dx0,
      .y1 = a.dx1,
      .k0 = static_cast<int>(s.c0),
      .k1 = static_cast<int>(s.c1),
      .out_h = static_cast<int>(s.h),
      .out_w = static_cast<int>(s.w),
      .bias = nullptr,
      .residual = nullptr,
      .vectored_source = s.k % 4 == 0 && aligned16(a.dy),
      .vectored_weight = s.c() % 4 == 0 && aligned16(a.weight),
      .vectored_result = (s.c0 | s.c1) % 4 == 0 && aligned16(a.dx0) && aligned16(a.dx1),
      .phases = {}};
  for (int i = 0; i < s.stride; ++i)
    for (int j = 0; j < s.stride; ++j)
      g.phases.add(backward_axis(s.h, s.p(), s, i), backward_axis(s.w, s.q(), s, j));
  return g;
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
