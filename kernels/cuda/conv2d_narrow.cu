// Convolution and backward to input where one side has few channels: the image itself (1 or 3).
//
// Such a convolution is bound by memory: 9 multiplications for each element of the wide side. A
// matrix tile would spend most of itself on channels that do not exist. Two kernels instead:
//   - few source channels (the first layer; backward, the last one's): a thread makes 8
//   neighbouring
//     channels of 4 pixels, so that the wide result leaves in whole vectors;
//   - few result channels (the last layer; backward, the first one's): 8 lanes share a pixel, each
//     taking every eighth vector of 4 channels of the wide source, and add up at the end.
// Both keep the filter in shared memory as f32. Either way a pixel's sums are taken in an order
// that depends on nothing but the channels.
#include "kernels/cuda/conv2d_narrow.h"

#include <algorithm>

#include "kernels/cuda/register_tile.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kPixels = 4;  // per thread: each weight read from shared memory serves them all
constexpr int kNarrow = 4;  // channels

// The pixels of a block are kThreads / sharing neighbours, kPixels times; those past the end get a
// position that no tap reaches.
template <int sharing>
struct Pixels {
  static constexpr int kApart = kThreads / sharing, kBlock = kApart * kPixels;
  int64_t first, end;
  Phase::Place place[kPixels];

  __device__ Pixels(const Phase& p, int64_t outputs)
      : first(blockIdx.x * int64_t{kBlock} + threadIdx.x / sharing), end(outputs) {
    const Phase::Origin origin = p.origin(blockIdx.x * int64_t{kBlock});
#pragma unroll
    for (int i = 0; i < kPixels; ++i) {
      place[i] = p.place(origin, static_cast<int>(threadIdx.x) / sharing + i * kApart);
      if (!inside(i)) place[i].y = -p.y.limit - 2;
    }
  }
  __device__ bool inside(int i) const {
    return first + i * kApart < end;
  }
};

// The weight of the tap-th tap of a phase.
template <class T>
__device__ float weight_at(const ConvGather<T>& g, const Phase& p, int out, int tap, int channel) {
  const int row = p.y.tap(tap / p.x.taps).row, column = p.x.tap(tap % p.x.taps).row;
  return to_float(g.weight[out * g.out_stride + (row * g.filter + column) * g.tap_stride +
                           channel * g.in_stride]);
}

constexpr int kFewTerms = 64;  // taps times source channels
constexpr int kOuts = 32;      // result channels of a block
constexpr int kEachOut = 8;    // and of a thread

struct FewSources {
  float weight[kFewTerms][kOuts];
};

template <class T>
__global__ void __launch_bounds__(kThreads, 2) conv2d_few_sources_kernel(ConvGather<T> g) {
  auto& shared = shared_memory<FewSources>();
  const Phase& p = g.phases.phase[blockIdx.z];
  const int64_t outputs = g.n * p.image.value();
  const int out0 = static_cast<int>(blockIdx.y) * kOuts;
  const int channels = g.c0 + g.c1, taps = p.y.taps * p.x.taps;
  for (int i = static_cast<int>(threadIdx.x); i < taps * channels * kOuts; i += kThreads) {
    const int term = i / kOuts, out = out0 + i % kOuts;
    shared.weight[term][i % kOuts] =
        out < g.outs() ? weight_at(g, p, out, term / channels, term % channels) : 0.0f;
  }
  __syncthreads();

  constexpr int kSharing = kOuts / kEachOut;
  const Pixels<kSharing> pixels(p, outputs);
  const int out = static_cast<int>(threadIdx.x) % kSharing * kEachOut;
  float sum[kPixels][kEachOut] = {};
  int term = 0;
  for (int i = 0; i < p.y.taps; ++i) {
    for (int j = 0; j < p.x.taps; ++j) {
      const Axis::Tap tap_y = p.y.tap(i), tap_x = p.x.tap(j);
      bool inside[kPixels];
      int64_t at[kPixels];
#pragma unroll
      for (int k = 0; k < kPixels; ++k) {
        const Phase::Place& place = pixels.place[k];
        int y, x;
        inside[k] = p.y.find(place.y, tap_y, y) & p.x.find(place.x, tap_x, x);
        at[k] = (place.n * g.h + y) * g.w + x;
      }
      for (int c = 0; c < channels; ++c, ++term) {
        const T* source = c < g.c0 ? g.x0 + c : g.x1 + (c - g.c0);
        const int stride = c < g.c0 ? g.c0 : g.c1;
        float x[kPixels];
#pragma unroll
        for (int k = 0; k < kPixels; ++k)
          x[k] = inside[k] ? to_float(source[at[k] * stride]) : 0.0f;
#pragma unroll
        for (int part = 0; part < kEachOut; part += 4) {
          const auto w = load<4>(&shared.weight[term][out + part]);
#pragma unroll
          for (int k = 0; k < kPixels; ++k)
#pragma unroll
            for (int l = 0; l < 4; ++l) sum[k][part + l] = fmaf(x[k], w[l], sum[k][part + l]);
        }
      }
    }
  }
#pragma unroll
  for (int k = 0; k < kPixels; ++k) {
    if (!pixels.inside(k)) break;
    const int64_t pixel = g.pixel(p, pixels.place[k]);
#pragma unroll
    for (int part = 0; part < kEachOut; part += 4) {
      const float x[4] = {sum[k][part], sum[k][part + 1], sum[k][part + 2], sum[k][part + 3]};
      if (out0 + out + part < g.outs()) g.write(pixel, out0 + out + part, x);
    }
  }
}

constexpr int kLanes = 8;            // that share a pixel
constexpr int kFewWeights = 9 << 9;  // such as a 3x3 filter of 512 channels

struct FewResults {
  alignas(16) float weight[kFewWeights];  // [out][tap][channels, up to a multiple of 4]
};

template <int kResults, class T>
__global__ void __launch_bounds__(kThreads, 2) conv2d_few_results_kernel(ConvGather<T> g) {
  auto& shared = shared_memory<FewResults>();
  const Phase& p = g.phases.phase[blockIdx.z];
  const int64_t outputs = g.n * p.image.value();
  const int taps = p.y.taps * p.x.taps, channels = g.c0, padded = (channels + 3) / 4 * 4;
  const int outs = g.outs();
  for (int i = static_cast<int>(threadIdx.x); i < outs * taps * padded; i += kThreads) {
    const int c = i % padded, out = i / padded / taps;
    shared.weight[i] = c < channels ? weight_at(g, p, out, i / padded % taps, c) : 0.0f;
  }
  __syncthreads();

  const Pixels<kLanes> pixels(p, outputs);
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  float sum[kPixels][kResults] = {};
  for (int tap = 0; tap < taps; ++tap) {
    const Axis::Tap tap_y = p.y.tap(tap / p.x.taps), tap_x = p.x.tap(tap % p.x.taps);
    bool inside[kPixels];
    const T* source[kPixels];
#pragma unroll
    for (int k = 0; k < kPixels; ++k) {
      const Phase::Place& place = pixels.place[k];
      int y, x;
      inside[k] = p.y.find(place.y, tap_y, y) & p.x.find(place.x, tap_x, x);
      source[k] = g.x0 + ((place.n * g.h + y) * g.w + x) * channels;
    }
    for (int c = 4 * lane; c < channels; c += 4 * kLanes) {
      Vector<float, 4> x[kPixels];
#pragma unroll
      for (int k = 0; k < kPixels; ++k)
        x[k] = load_four(source[k] + c, inside[k] ? channels - c : 0, g.vectored_source);
#pragma unroll
      for (int out = 0; out < kResults; ++out) {
        if (out >= outs) break;
        const auto w = load<4>(&shared.weight[(out * taps + tap) * padded + c]);
#pragma unroll
        for (int k = 0; k < kPixels; ++k)
#pragma unroll
          for (int l = 0; l < 4; ++l) sum[k][out] = fmaf(x[k][l], w[l], sum[k][out]);
      }
    }
  }
#pragma unroll
  for (int k = 0; k < kPixels; ++k) {
#pragma unroll
    for (int out = 0; out < kResults; ++out)
#pragma unroll
      for (int offset = kLanes / 2; offset > 0; offset /= 2)
        sum[k][out] += __shfl_xor_sync(kFullMask, sum[k][out], offset);
    if (lane == 0 && pixels.inside(k)) {
      const int64_t pixel = g.pixel(p, pixels.place[k]);
#pragma unroll
      for (int out = 0; out < kResults; ++out) {
        const float x[1] = {sum[k][out]};
        if (out < outs) g.write(pixel, out, x);
      }
    }
  }
}

template <class T>
int most_taps(const ConvGather<T>& g) {
  int taps = 0;
  for (int i = 0; i < g.phases.count; ++i)
    taps = std::max(taps, g.phases.phase[i].y.taps * g.phases.phase[i].x.taps);
  return taps;
}

template <class T>
bool few_sources(const ConvGather<T>& g) {
  return g.channels() <= kNarrow && most_taps(g) * g.channels() <= kFewTerms;
}
template <class T>
bool few_results(const ConvGather<T>& g) {
  return g.outs() <= kNarrow && g.c1 == 0 &&
         g.outs() * most_taps(g) * ceil_div(g.channels(), 4) * 4 <= kFewWeights;
}

}  // namespace

template <class T>
bool conv2d_narrow_supports(const ConvGather<T>& g) {
  return few_sources(g) || few_results(g);
}

template <class T>
void conv2d_narrow(const ConvGather<T>& g, Stream stream) {
  const auto phases = static_cast<unsigned>(g.phases.count);
  const auto blocks = [&](int pixels) {
    return static_cast<unsigned>(ceil_div(g.outputs(0), pixels));
  };
  if (few_sources(g)) {
    const auto slices = static_cast<unsigned>(ceil_div(g.outs(), kOuts));
    launch<conv2d_few_sources_kernel<T>>(
        dim3(blocks(Pixels<kOuts / kEachOut>::kBlock), slices, phases), kThreads,
        sizeof(FewSources), stream, g);
    return;
  }
  const dim3 grid(blocks(Pixels<kLanes>::kBlock), 1, phases);
  if (g.outs() == 1)
    launch<conv2d_few_results_kernel<1, T>>(grid, kThreads, sizeof(FewResults), stream, g);
  else
    launch<conv2d_few_results_kernel<kNarrow, T>>(grid, kThreads, sizeof(FewResults), stream, g);
}

template bool conv2d_narrow_supports(const ConvGather<float>&);
template bool conv2d_narrow_supports(const ConvGather<bf16>&);
template void conv2d_narrow(const ConvGather<float>&, Stream);
template void conv2d_narrow(const ConvGather<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
