// Group norm in the whole-network kernel: y = silu(norm[c][0] x + norm[c][1]), where norm holds all
// that statistics, gamma, beta, scale and shift come down to for a channel.
//
// The statistics need one pass over the planes. A channel's sums are of x - x[pixel 0], so that
// nothing cancels where the mean is large; the channels of a group, each with a mean and a sum of
// squares of its own, are then put together as in Chan, Golub & LeVeque 1983. That also serves
// groups that lie in two planes, or in two tensors.
#pragma once

#include "kernels/cuda/device/approximate.h"
#include "kernels/cuda/whole_network.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// The sums of a warp's share of one plane, in shared.partial.
__device__ inline void add_up_plane(WholeShared& shared, const unsigned char* plane, int pixels,
                                    int part, int parts) {
  const int lane = this_lane(), chunk = lane % 4;
  const auto first = load_chunk(plane, 0, chunk);
  float sum[8] = {}, squares[8] = {};
  for (int p = part * 8 + lane / 4; p < pixels; p += parts * 8) {
    const auto x = load_chunk(plane, p, chunk);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float d = to_float(x[i]) - to_float(first[i]);
      sum[i] += d;
      squares[i] += d * d;
    }
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 8; ++i) {
#pragma unroll
    for (int offset = 4; offset < kWarp; offset *= 2) {
      sum[i] += __shfl_xor_sync(kFullMask, sum[i], offset);
      squares[i] += __shfl_xor_sync(kFullMask, squares[i], offset);
    }
  }
  Pair* const to = shared.partial[this_warp()] + chunk * 8;
  if (lane < 4) {
#pragma unroll
    for (int i = 0; i < 8; ++i) store_shared(&to[i].v[0], Pair{sum[i], squares[i]});
  }
}

// Fills shared.norm for the layer's input. All threads; ends with a barrier.
__device__ inline void prepare_norm(WholeShared& shared, const float* told) {
  const WholeNetworkLayer& layer = shared.layer;
  const int warp = this_warp();
  const int c = this_thread(), channels = layer.planes * 32;
  const int pixels = layer.height * layer.width;
  const int parts = kWholeWarps / layer.planes;
  const bool owns = c < channels;
  float gamma = 0, beta = 0, scale = 1, shift = 0;
  if (owns) {
    gamma = layer.gamma[c];
    beta = layer.beta[c];
    if (layer.scale_shift >= 0) {
      scale += told[layer.scale_shift + c];
      shift = told[layer.scale_shift + channels + c];
    }
  }

  if (warp / parts < layer.planes)
    add_up_plane(shared, shared.arena() + layer.in[warp / parts], pixels, warp % parts, parts);
  __syncthreads();

  const auto count = static_cast<float>(pixels);
  if (owns) {
    float sum = 0, squares = 0;
    for (int i = 0; i < parts; ++i) {
      const Pair p = load<2>(&shared.partial[c / 32 * parts + i][c % 32].v[0]);
      sum += p[0];
      squares += p[1];
    }
    const unsigned char* const first =
        shared.arena() + layer.in[c / 32] + chunk_at(0, c % 32 / 8) + c % 8 * 2;
    const float pivot = to_float(*reinterpret_cast<const bf16*>(first));
    store_shared(&shared.norm[c].v[0], Pair{pivot + sum / count, squares - sum * sum / count});
  }
  __syncthreads();

  Pair norm{};
  if (owns) {
    const int of_group = channels / layer.groups, first = c / of_group * of_group;
    float mean = 0, squares = 0;
    for (int i = 0; i < of_group; ++i) mean += shared.norm[first + i][0];
    mean /= static_cast<float>(of_group);
    for (int i = 0; i < of_group; ++i) {
      const Pair channel = load<2>(&shared.norm[first + i].v[0]);
      squares += channel[1] + count * (channel[0] - mean) * (channel[0] - mean);
    }
    const float variance = fmaxf(squares, 0) / (count * static_cast<float>(of_group));
    const float factor = gamma / sqrtf(variance + layer.eps);
    norm = {factor * scale, (beta - mean * factor) * scale + shift};
  }
  __syncthreads();
  if (owns) store_shared(&shared.norm[c].v[0], norm);
  __syncthreads();
}

// Planes [first, last) of the layer's input on their way. All threads, no barrier.
__device__ inline void normalise(WholeShared& shared, int first, int last) {
  const WholeNetworkLayer& layer = shared.layer;
  const int t = this_thread(), chunk = t & 3;
  const int pixels = layer.height * layer.width;
  const bool with_silu = layer.silu != 0;
  for (int i = first; i < last; ++i) {
    const unsigned char* const from = shared.arena() + layer.in[i];
    unsigned char* const to = shared.arena() + layer.normalised[i];
    Pair norm[8];
#pragma unroll
    for (int k = 0; k < 8; ++k) norm[k] = load<2>(&shared.norm[i * 32 + chunk * 8 + k].v[0]);
    for (int p = t >> 2; p < pixels; p += kWholeThreads / 4) {
      const auto x = load_chunk(from, p, chunk);
      float y[8];
#pragma unroll
      for (int k = 0; k < 8; ++k) y[k] = norm[k][0] * to_float(x[k]) + norm[k][1];
      if (with_silu) {
#pragma unroll
        for (int k = 0; k < 8; ++k) y[k] *= sigmoid_approximate(y[k]);
      }
      store_chunk(to, p, chunk, y);
    }
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
