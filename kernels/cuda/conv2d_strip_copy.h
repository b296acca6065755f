// The ways of conv2d_mma_strip.cu's operands to shared memory: strips of the image, which may be
// normalised there, and the taps of the filter.
#pragma once

#include <algorithm>

#include "kernels/cuda/conv2d_strip_tile.h"
#include "kernels/cuda/device/approximate.h"
#include "kernels/cuda/device/elements.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

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

  static __device__ int begin(const Strip<S>& strip) { return strip.first < 0 ? -strip.first : 0; }
  static __device__ int slot() { return static_cast<int>(threadIdx.x) / 4; }
  static __device__ int chunk() { return static_cast<int>(threadIdx.x) % 4; }

  __device__ void aim(const Strip<S>& strip, const bf16* source, int stored, int channels,
                      int first) {
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
  __device__ void start(SharedAddress buffer, int channels, int first, int last) {
    const SharedAddress to = buffer + chunk_at(slot(), chunk());
#pragma unroll
    for (int i = first; i < last; ++i) {
      if (i >= S::kCopies) break;
      async_copy_16(to + i * kApart * kPixelBytes, from,
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
__device__ void normalise(typename S::Buffer& buffer, const Strip<S>& strip, const Divisor& image,
                          int stored, const float* coefficients, int channel, int channels) {
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
    const auto x = load_numbers<kVector8>(chunk);
    float y[kVector8];
#pragma unroll
    for (int j = 0; j < kVector8; ++j) {
      const float scaled = fmaf(a[j], x[j], b[j]);
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

  __device__ void aim(const ConvGather<bf16>& g, const TileAt<S>& at, int first, bool second) {
    int t = static_cast<int>(threadIdx.x);
    forget_origin(t);
    const int row = t / B::kChunks, column = t % B::kChunks * 8;
    const int out = at.column + (B::kAlongInner ? row : column);
    const int channel = first + (B::kAlongInner ? column : row);
    outs = g.k0 + g.k1 - out;
    channels = (second ? g.c1 : g.c0) - channel;
    if (!B::kAlongInner && outs <= 0) channels = 0;  // one number fewer to keep
    from = g.weight + (out * g.out_stride + (channel + (second ? g.c0 : 0)) * g.in_stride);
    if constexpr (S::kEnlarged) from += (at.odd_y * 2 + at.odd_x) * S::kTaps * g.tap_stride;
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

}  // namespace diffscm::kernels::DIFFSCM_TARGET
