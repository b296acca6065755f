// Where the whole-network kernel meets device memory: the first and the last convolution, whose one
// to four channels of image stay f32 as with the operators, and the planes that wait outside.
#pragma once

#include "kernels/cuda/whole_network_norm.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// planes = 3x3 convolution of the image. A thread makes eight channels of a pixel.
__device__ inline void stem(WholeShared& shared, const float* image) {
  const WholeNetworkLayer& layer = shared.layer;
  const int t = this_thread();
  const int pixels = layer.height * layer.width, of_image = layer.image_channels;
  const int outs = 32 * layer.out_planes, taps = 9 * of_image;
  auto* const weight = reinterpret_cast<float*>(shared.arena() + layer.scratch);  // [tap][out]
  float* const x = weight + taps * outs;                                          // as it comes
  for (int i = t; i < taps * outs; i += kWholeThreads)
    weight[i % taps * outs + i / taps] = layer.weight[i];
  for (int i = t; i < pixels * of_image; i += kWholeThreads) x[i] = image[i];
  __syncthreads();

  const int chunks = outs / 8;
  for (int i = t; i < pixels * chunks; i += kWholeThreads) {
    const int pixel = i / chunks, out = i % chunks * 8;
    const int y = pixel / layer.width, column = pixel % layer.width;
    float sum[8];
#pragma unroll
    for (int k = 0; k < 8; ++k) sum[k] = layer.bias != nullptr ? layer.bias[out + k] : 0;
    for (int tap = 0; tap < 9; ++tap) {
      const int at_y = y + tap / 3 - 1, at_x = column + tap % 3 - 1;
      if (at_y < 0 || at_y >= layer.height || at_x < 0 || at_x >= layer.width) continue;
      for (int c = 0; c < of_image; ++c) {
        const float value = x[(at_y * layer.width + at_x) * of_image + c];
        const float* const w = weight + (tap * of_image + c) * outs + out;
#pragma unroll
        for (int k = 0; k < 8; k += 4) {
          const auto four = load<4>(w + k);
#pragma unroll
          for (int m = 0; m < 4; ++m) sum[k + m] += four[m] * value;
        }
      }
    }
    store_chunk(shared.arena() + layer.out[out / 32], pixel, out % 32 / 8, sum);
  }
}

// image = 3x3 convolution of the normalised planes. Four lanes share a pixel, each with eight
// channels of every plane.
__device__ inline void last(WholeShared& shared, const float* told, float* image) {
  const WholeNetworkLayer& layer = shared.layer;
  const int t = this_thread();
  const int pixels = layer.height * layer.width, channels = 32 * layer.planes;
  auto* const weight = reinterpret_cast<float*>(shared.arena() + layer.scratch);  // [out][tap][C]
  for (int i = t; i < layer.image_channels * 9 * channels; i += kWholeThreads)
    weight[i] = layer.weight[i];
  if (layer.groups > 0) {
    prepare_norm(shared, told);
    normalise(shared, 0, layer.planes);
  }
  __syncthreads();

  const int warp = this_warp(), lane = this_lane(), chunk = lane % 4;
  for (int first = warp * 8; first < pixels; first += kWholeWarps * 8) {
    const int pixel = first + lane / 4;
    const int y = pixel / layer.width, column = pixel % layer.width;
    for (int out = 0; out < layer.image_channels; ++out) {
      float sum = 0;
      for (int tap = 0; tap < 9; ++tap) {
        const int at_y = y + tap / 3 - 1, at_x = column + tap % 3 - 1;
        if (pixel >= pixels || at_y < 0 || at_y >= layer.height || at_x < 0 || at_x >= layer.width)
          continue;
        for (int plane = 0; plane < layer.planes; ++plane) {
          const auto x = load_chunk(shared.arena() + layer.normalised[plane],
                                    at_y * layer.width + at_x, chunk);
          const float* const w = weight + (out * 9 + tap) * channels + plane * 32 + chunk * 8;
#pragma unroll
          for (int k = 0; k < 8; k += 4) {
            const auto four = load<4>(w + k);
#pragma unroll
            for (int m = 0; m < 4; ++m) sum += four[m] * to_float(x[k + m]);
          }
        }
      }
      __syncwarp();
      sum += __shfl_xor_sync(kFullMask, sum, 1);
      sum += __shfl_xor_sync(kFullMask, sum, 2);
      if (chunk == 0 && pixel < pixels)
        image[pixel * layer.image_channels + out] =
            sum + (layer.bias != nullptr ? layer.bias[out] : 0);
    }
  }
}

// Whole planes between the arena and device memory, as they lie.
__device__ inline void save(WholeShared& shared, unsigned char* saved) {
  const WholeNetworkLayer& layer = shared.layer;
  const int bytes = layer.height * layer.width * kPixelBytes;
  for (int plane = 0; plane < layer.planes; ++plane)
    for (int i = 16 * this_thread(); i < bytes; i += 16 * kWholeThreads)
      store(saved + layer.saved + plane * bytes + i,
            load<16>(shared.arena() + layer.in[plane] + i));
}
__device__ inline void restore(WholeShared& shared, const unsigned char* saved) {
  const WholeNetworkLayer& layer = shared.layer;
  const int bytes = layer.height * layer.width * kPixelBytes;
  for (int plane = 0; plane < layer.planes; ++plane)
    for (int i = 16 * this_thread(); i < bytes; i += 16 * kWholeThreads)
      store_shared(shared.arena() + layer.out[plane] + i,
                   load<16>(saved + layer.saved + plane * bytes + i));
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
