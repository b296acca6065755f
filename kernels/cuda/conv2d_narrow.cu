// Convolution and backward to input where one side has few channels: the image itself (1 or 3).
//
// Such a convolution is bound by memory: 9 multiplications for each element of the wide side. A
// matrix tile would spend most of itself on channels that do not exist. Two kernels instead, for
// 3x3 filters that move by one pixel:
//   - few source channels (the first layer; backward, the last one's): a block's source pixels wait
//     in shared memory; a thread makes 8 channels of 4 pixels, in runs of 16 bytes that leave in
//     whole sectors;
//   - few result channels (the last layer; backward, the first one's): a thread reads a pixel of
//     the wide source once and multiplies it by the weights of all nine taps; the products wait in
//     shared memory, where an output pixel adds up those of its neighbours.
//
// What waits lies in the order of padded images: a column of zeros before each row, a row of zeros
// before each image.
//
//   0 0 0 0 0      position = (row + 1) * (w + 1) + column + 1, counted on from image to image
//   0 a b c d
//   0 e f g h
//   0 0 0 0 0      of the next image
//
// A neighbour is then always the same number of positions away, and nobody asks whether it exists:
// after a row's last pixel comes the next row's zero. Either way a pixel's sums are taken in an
// order that depends on nothing but the channels.
#include "kernels/cuda/conv2d_narrow.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kTaps = 9;
constexpr int kNarrow = 4;                // channels
constexpr size_t kSharedMost = 96 << 10;  // bytes; every architecture has them for a block

struct PaddedImages {
  Divisor image, row;  // positions
  int64_t images;
  int h, w;

  template <class T, class Y>
  explicit PaddedImages(const ConvGather<T, Y>& g)
      : image(int64_t{g.h + 1} * (g.w + 1)), row(g.w + 1), images(g.n), h(g.h), w(g.w) {}

  // From a pixel to its neighbour above on the left, or below on the right.
  __host__ __device__ int reach() const { return w + 2; }
  // Blocks of `outputs` positions for all pixels: block b's begin at position b * outputs + reach.
  int64_t blocks(int outputs) const {
    return ceil_div(images * (h + 1) * (w + 1) - reach(), outputs);
  }

  struct Origin {
    int64_t n;
    uint32_t rest;
  };
  __device__ Origin origin(int64_t position) const {
    const auto [n, rest] = image.divide(position);
    return {n, rest};
  }
  // The pixel that is `distance` positions further, counted through the batch; -1 for a zero.
  __device__ int64_t pixel(const Origin& origin, int distance) const {
    const uint32_t i = origin.rest + static_cast<uint32_t>(distance), n = image.quotient(i);
    const uint32_t in_image = image.remainder(i, n), y = row.quotient(in_image);
    const uint32_t x = row.remainder(in_image, y);
    if (x == 0 || y == 0 || origin.n + n >= images) return -1;
    return (origin.n + n) * h * w + static_cast<int>(y - 1) * w + static_cast<int>(x - 1);
  }
};

// The weight of a tap; taps are counted over the source from above on the left, which backward is
// the filter's end.
template <class T, class Y>
__device__ float weight_at(const ConvGather<T, Y>& g, int out, int tap, int channel) {
  const int in_filter = g.phases.phase[0].y.direction < 0 ? kTaps - 1 - tap : tap;
  return to_float(g.weight[out * g.out_stride + in_filter * g.tap_stride + channel * g.in_stride]);
}

constexpr int kOuts = 32;                               // result channels of a block
constexpr int kOfThread = 8;                            // and of a thread
constexpr int kSharing = kOuts / kOfThread;             // threads that share a pixel
constexpr int kEach = 4, kApart = kThreads / kSharing;  // pixels of a thread, and between two
constexpr int kOutputs = kEach * kApart;                // positions of a block's results

// Shared memory: weights [channel][tap][kOuts], source [channel][position], f32.
// kRun: results beside each other that are written at once.
template <int kRun, class T, class Y>
__global__ void __launch_bounds__(kThreads, 2)
    conv2d_few_sources_kernel(ConvGather<T, Y> g, PaddedImages images) {
  follow_previous_kernel();
  const int t = static_cast<int>(threadIdx.x), channels = g.c0 + g.c1, below = images.w + 1;
  const int strip = kOutputs + 2 * images.reach();
  float* weight = &shared_memory<float>();
  float* source = weight + channels * kTaps * kOuts;
  const auto origin = images.origin(blockIdx.x * int64_t{kOutputs});
  const int out0 = static_cast<int>(blockIdx.y) * kOuts;

  const int out = out0 + t % kOuts;
  for (int row = t / kOuts; row < channels * kTaps; row += kThreads / kOuts)
    weight[row * kOuts + t % kOuts] =
        out < g.outs() ? weight_at(g, out, row % kTaps, row / kTaps) : 0.0f;
  for (int i = t; i < strip; i += kThreads) {
    const int64_t pixel = images.pixel(origin, i);
    for (int c = 0; c < channels; ++c) {
      float x = 0;
      if (pixel >= 0)
        x = to_float(c < g.c0 ? g.x0[pixel * g.c0 + c] : g.x1[pixel * g.c1 + (c - g.c0)]);
      source[c * strip + i] = x;
    }
  }
  __syncthreads();

  constexpr int kRuns = kOfThread / kRun;
  const int first = t / kSharing, run0 = t % kSharing * kRun;
  float sum[kEach][kRuns][kRun] = {};
  for (int c = 0; c < channels; ++c) {
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap) {
      const float* x = source + c * strip + first + tap / 3 * below + tap % 3;
#pragma unroll
      for (int run = 0; run < kRuns; ++run) {
        const auto w =
            load_numbers<kRun>(&weight[(c * kTaps + tap) * kOuts + run0 + run * kOuts / kRuns]);
#pragma unroll
        for (int k = 0; k < kEach; ++k)
#pragma unroll
          for (int i = 0; i < kRun; ++i) sum[k][run][i] = fmaf(x[k * kApart], w[i], sum[k][run][i]);
      }
    }
  }
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const int64_t pixel = images.pixel(origin, first + k * kApart + images.reach());
    if (pixel < 0) continue;
#pragma unroll
    for (int run = 0; run < kRuns; ++run) {
      const int channel = out0 + run0 + run * kOuts / kRuns;
      if (channel < g.outs()) g.write(pixel, channel, sum[k][run]);
    }
  }
}

constexpr int kVectorChannels = 8;              // of the source, read at once
constexpr int kPixels = 2;                      // of a thread
constexpr int kStripUnit = kPixels * kThreads;  // positions that a block's threads take at once

// p[0..7], zeros from `valid` on (which may be negative). `vectored`: all eight or none.
template <bool vectored, class T>
__device__ Numbers<kVectorChannels> load_channels(const T* p, int valid) {
  if constexpr (vectored) {
    return valid > 0 ? load_numbers<kVectorChannels>(p) : Numbers<kVectorChannels>{};
  } else {
    Numbers<kVectorChannels> x;
#pragma unroll
    for (int i = 0; i < kVectorChannels; ++i) x[i] = i < valid ? to_float(p[i]) : 0.0f;
    return x;
  }
}

__host__ __device__ inline int whole_vectors(int channels) {
  return (channels + kVectorChannels - 1) / kVectorChannels * kVectorChannels;
}

// Shared memory: weights [result][tap][channel, in whole vectors], products [result][tap][strip],
// f32. `strip` positions, a multiple of kStripUnit, are read; those with all neighbours are
// written.
template <int kResults, bool vectored, class T, class Y>
__global__ void __launch_bounds__(kThreads, 2)
    conv2d_few_results_kernel(ConvGather<T, Y> g, PaddedImages images, int strip) {
  follow_previous_kernel();
  const int t = static_cast<int>(threadIdx.x), channels = g.c0, padded = whole_vectors(channels);
  const int outs = g.outs(), rows = outs * kTaps, outputs = strip - 2 * images.reach();
  float* weight = &shared_memory<float>();
  float* products = weight + rows * padded;
  const auto origin = images.origin(blockIdx.x * int64_t{outputs});

  constexpr int kSide = 8;  // threads beside each other in a row of weights
  for (int row = t / kSide; row < rows; row += kThreads / kSide)
    for (int c = t % kSide; c < padded; c += kSide)
      weight[row * padded + c] = c < channels ? weight_at(g, row / kTaps, row % kTaps, c) : 0.0f;
  __syncthreads();

  for (int first = t; first < strip; first += kStripUnit) {
    int64_t pixel[kPixels];
#pragma unroll
    for (int k = 0; k < kPixels; ++k) pixel[k] = images.pixel(origin, first + k * kThreads);
    float sum[kResults * kTaps][kPixels] = {};
#pragma unroll(kResults == 1 ? 2 : 1)
    for (int c = 0; c < padded; c += kVectorChannels) {
      Numbers<kVectorChannels> x[kPixels];
#pragma unroll
      for (int k = 0; k < kPixels; ++k)
        x[k] = load_channels<vectored>(g.x0 + pixel[k] * channels + c,
                                       pixel[k] < 0 ? 0 : channels - c);
#pragma unroll
      for (int row = 0; row < kResults * kTaps; ++row) {
        if (row >= rows) break;
        const auto w = load_numbers<kVectorChannels>(&weight[row * padded + c]);
#pragma unroll
        for (int k = 0; k < kPixels; ++k)
#pragma unroll
          for (int i = 0; i < kVectorChannels; ++i) sum[row][k] = fmaf(x[k][i], w[i], sum[row][k]);
      }
    }
#pragma unroll
    for (int row = 0; row < kResults * kTaps; ++row) {
      if (row >= rows) break;
#pragma unroll
      for (int k = 0; k < kPixels; ++k) products[row * strip + first + k * kThreads] = sum[row][k];
    }
  }
  __syncthreads();

  const int below = images.w + 1;
  for (int i = t; i < outputs; i += kThreads) {
    const int64_t pixel = images.pixel(origin, i + images.reach());
    if (pixel < 0) continue;
    for (int out = 0; out < outs; ++out) {
      float sum[1] = {0};
#pragma unroll
      for (int tap = 0; tap < kTaps; ++tap)
        sum[0] += products[(out * kTaps + tap) * strip + i + tap / 3 * below + tap % 3];
      g.write(pixel, out, sum);
    }
  }
}

template <class T, class Y>
bool by_one(const ConvGather<T, Y>& g) {
  const Axis& y = g.phases.phase[0].y;
  return g.phases.count == 1 && y.taps == 3 && y.period == 3 && y.scale == 1 && y.halvings == 0 &&
         int64_t{g.h + 1} * (g.w + 1) < int64_t{1} << 30;
}

template <class T, class Y>
size_t few_sources_bytes(const ConvGather<T, Y>& g) {
  const auto strip = static_cast<size_t>(kOutputs + 2 * (g.w + 2));
  return static_cast<size_t>(g.channels()) * (kTaps * kOuts + strip) * sizeof(float);
}
template <class T, class Y>
bool few_sources(const ConvGather<T, Y>& g) {
  return g.channels() <= kNarrow && few_sources_bytes(g) <= kSharedMost;
}

// Positions that a block reads: at least twice those that it writes no result for.
template <class T, class Y>
int64_t strip_length(const ConvGather<T, Y>& g) {
  return ceil_div(4 * (g.w + 2), kStripUnit) * kStripUnit;
}
template <class T, class Y>
size_t few_results_bytes(const ConvGather<T, Y>& g) {
  return static_cast<size_t>(g.outs()) * kTaps * sizeof(float) *
         static_cast<size_t>(whole_vectors(g.c0) + strip_length(g));
}
template <class T, class Y>
bool few_results(const ConvGather<T, Y>& g) {
  return g.outs() <= kNarrow && g.c1 == 0 && few_results_bytes(g) <= kSharedMost;
}

template <int kResults, class T, class Y>
void launch_few_results(const ConvGather<T, Y>& g, const PaddedImages& images, Stream stream) {
  const auto strip = static_cast<int>(strip_length(g));
  const dim3 grid(static_cast<unsigned>(images.blocks(strip - 2 * images.reach())));
  const size_t bytes = few_results_bytes(g);
  if (aligned16(g.x0) && g.c0 % kVectorChannels == 0)
    launch<conv2d_few_results_kernel<kResults, true, T, Y>>(grid, kThreads, bytes, stream, g,
                                                            images, strip);
  else
    launch<conv2d_few_results_kernel<kResults, false, T, Y>>(grid, kThreads, bytes, stream, g,
                                                             images, strip);
}

}  // namespace

template <class T, class Y>
bool conv2d_narrow_supports(const ConvGather<T, Y>& g) {
  return by_one(g) && (few_sources(g) || few_results(g));
}

template <class T, class Y>
void conv2d_narrow(const ConvGather<T, Y>& g, Stream stream) {
  const PaddedImages images(g);
  if (few_sources(g)) {
    const dim3 grid(static_cast<unsigned>(images.blocks(kOutputs)),
                    static_cast<unsigned>(ceil_div(g.outs(), kOuts)));
    const auto run = [&]<int kRun>() {
      launch<conv2d_few_sources_kernel<kRun, T, Y>>(grid, kThreads, few_sources_bytes(g), stream, g,
                                                    images);
    };
    constexpr int kWhole = kVector<Y>;  // 16 bytes
    (g.k0 | g.k1) % kWhole == 0 ? run.template operator()<kWhole>() : run.template operator()<4>();
  } else if (g.outs() == 1) {
    launch_few_results<1>(g, images, stream);
  } else {
    launch_few_results<kNarrow>(g, images, stream);
  }
}

#define DIFFSCM_NARROW(T, Y)                                     \
  template bool conv2d_narrow_supports(const ConvGather<T, Y>&); \
  template void conv2d_narrow(const ConvGather<T, Y>&, Stream);
DIFFSCM_NARROW(float, float)
DIFFSCM_NARROW(bf16, bf16)
DIFFSCM_NARROW(float, bf16)
DIFFSCM_NARROW(bf16, float)

}  // namespace diffscm::kernels::DIFFSCM_TARGET
