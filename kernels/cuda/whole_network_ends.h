// Where the whole-network kernel meets device memory: the image, as the planes that the first
// convolution reads, and the planes that wait outside.
#pragma once

#include "kernels/cuda/whole_network.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// What a 3x3 filter sees of the image at each pixel (kernels/whole_network.h). A thread makes a
// pixel's.
template <int channels>
__device__ inline void unfold(WholeShared& shared, const float* image) {
  constexpr int kSeen = 9 * channels, kPlanes = unfolded_planes(channels);
  const WholeNetworkLayer& layer = shared.layer;
  const WholeNetworkPlane plane{layer.side};
  const auto pixel = PixelOfRow::of(layer);
  for (int row = this_thread(); row < plane.rows(); row += kWholeThreads) {
    const int y = pixel.y(row), x = pixel.x(row, y);
    if (x == layer.side) continue;
    float seen[kSeen];
#pragma unroll
    for (int tap = 0; tap < 9; ++tap) {
      const int at_y = y + tap / 3 - 1, at_x = x + tap % 3 - 1;
      const bool inside = at_y >= 0 && at_y < layer.side && at_x >= 0 && at_x < layer.side;
#pragma unroll
      for (int c = 0; c < channels; ++c)
        seen[tap * channels + c] = inside ? image[(at_y * layer.side + at_x) * channels + c] : 0;
    }
#pragma unroll
    for (int chunk = 0; chunk < WholeNetworkPlane::kChunks * kPlanes; ++chunk) {
      float eight[8];
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        const int channel = chunk * 8 + k;
        const float number = seen[channel % kSeen];
        const float high = to_float(from_float<bf16>(number));
        eight[k] = channel / kSeen == 1 ? number - high : channel / kSeen < 3 ? high : 0;
      }
      store_eight(at_position(shared.arena() + layer.read[chunk / 4],
                              chunk % 4 * plane.chunk() + plane.first() + row),
                  eight);
    }
  }
}

// One layer. All threads; the output may be read after a barrier.
__device__ inline void unfold(WholeShared& shared, const float* image) {
  switch (shared.layer.image_channels) {
    case 1:
      return unfold<1>(shared, image);
    case 2:
      return unfold<2>(shared, image);
    case 3:
      return unfold<3>(shared, image);
    case 4:
      return unfold<4>(shared, image);
  }
}

// Whole planes to device memory, as they lie, one after the other. All threads, no barrier.
__device__ inline void save(WholeShared& shared, unsigned char* saved) {
  const WholeNetworkLayer& layer = shared.layer;
  const int bytes = WholeNetworkPlane{layer.side}.bytes();
  for (int plane = 0; plane < layer.planes; ++plane)
    for (int i = 16 * this_thread(); i < bytes; i += 16 * kWholeThreads)
      store(saved + layer.saved + plane * bytes + i,
            load<16>(shared.arena() + layer.in[plane] + i));
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
