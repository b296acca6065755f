// Group norm in the whole-network kernel: y = silu(norm[c][0] x + norm[c][1]), where norm holds all
// that statistics, gamma, beta, scale and shift come down to for a channel.
//
// Statistics come from each channel's sum over the pixels and that of their squares, which whoever
// writes a plane leaves behind it (whole_network_output.h). They are f32 sums of bf16 numbers:
// where a mean is so much larger than the deviation that the squares cancel, the rounding to bf16
// has taken twenty times as much of the variance before.
#pragma once

#include "kernels/cuda/device/approximate.h"
#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/whole_network.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// a and b of one channel without scale and shift. sums(c): of a channel; pixels: of the image.
template <class Sums>
__device__ inline Pair norm_of(int c, int channels, int groups, int pixels, float eps, float gamma,
                               float beta, Sums sums) {
  const int of_group = channels / groups, first = c / of_group * of_group;
  float sum = 0, squares = 0;
  for (int i = 0; i < of_group; ++i) {
    const Pair channel = sums(first + i);
    sum += channel[0];
    squares += channel[1];
  }
  const float count = static_cast<float>(pixels) * static_cast<float>(of_group);
  const float mean = sum / count;
  const float variance = fmaxf(squares / count - mean * mean, 0);
  const float factor = gamma / sqrtf(variance + eps);
  return {factor, beta - mean * factor};
}

// SiLU(x) = h tanh(h) + h of h = x / 2.
__device__ inline float silu_of_half(float h) {
  return h * tanh_approximate(h) + h;
}

// Fills shared.norm for the layer's input. All threads; ends with a barrier.
__device__ inline void prepare_norm(WholeShared& shared, const unsigned char* saved) {
  const WholeNetworkLayer& layer = shared.layer;
  const int c = this_thread(), channels = layer.planes * WholeNetworkPlane::kChannels;
  if (c < channels) {
    const int sums_at = WholeNetworkPlane{layer.side}.sums_at();
    const auto sums = [&](int channel) {
      const int place = layer.in[channel / 32], at = sums_at + channel % 32 * 8;
      return place >= 0 ? load<2>(reinterpret_cast<const float*>(shared.arena() + place + at))
                        : load<2>(reinterpret_cast<const float*>(saved + ~place + at));
    };
    Pair norm = norm_of(c, channels, layer.groups, layer.side * layer.side, layer.eps,
                        layer.gamma[c], layer.beta[c], sums);
    const float half = layer.silu != 0 ? 0.5f : 1;
    norm = {norm[0] * half, norm[1] * half};
    store_shared(&shared.norm[c].v[0], norm);
  }
  __syncthreads();
}

// One plane on its way: a warp has one of its chunks, so that what belongs to channels is loaded
// once.
__device__ inline void normalise(const unsigned char* from, unsigned char* to, const Pair* norm_,
                                 const WholeNetworkPlane& p, const PixelOfRow& pixel,
                                 bool with_silu) {
  constexpr int kWarpsOfChunk = kWholeWarps / WholeNetworkPlane::kChunks;
  const int warp = this_warp(), chunk = warp % WholeNetworkPlane::kChunks;
  Pair norm[8];
#pragma unroll
  for (int k = 0; k < 8; ++k) norm[k] = load<2>(&norm_[chunk * 8 + k].v[0]);
  const int first = chunk * p.chunk() + p.first(), rows = p.rows();
  for (int row = warp / WholeNetworkPlane::kChunks * kWarp + this_lane(); row < rows;
       row += kWarpsOfChunk * kWarp) {
    if (pixel.x(row, pixel.y(row)) == p.side) continue;
    const auto x = load_numbers<8>(reinterpret_cast<const bf16*>(at_position(from, first + row)));
    float y[8];
#pragma unroll
    for (int k = 0; k < 8; ++k) y[k] = norm[k][0] * x[k] + norm[k][1];
    if (with_silu) {
#pragma unroll
      for (int k = 0; k < 8; ++k) y[k] = silu_of_half(y[k]);
    }
    store_eight(at_position(to, first + row), y);
  }
}

// Planes [first, last) of the layer's input on their way. All threads, no barrier.
__device__ inline void normalise(WholeShared& shared, const unsigned char* saved, int first,
                                 int last) {
  const WholeNetworkLayer& layer = shared.layer;
  const WholeNetworkPlane plane{layer.side};
  const auto pixel = PixelOfRow::of(layer);
  for (int i = first; i < last; ++i) {
    unsigned char* const to = shared.arena() + layer.read[i];
    const Pair* const norm = shared.norm + i * WholeNetworkPlane::kChannels;
    const int from = layer.in[i];
    if (from >= 0)
      normalise(shared.arena() + from, to, norm, plane, pixel, layer.silu != 0);
    else
      normalise(saved + ~from, to, norm, plane, pixel, layer.silu != 0);
    clear_borders(to, plane);
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
