// What the parts of the whole-network kernel share: the block's shared memory, where a number of a
// plane lies in it, and the stream of weights.
//
// A pixel of a plane is 64 bytes, two pixels fill the 32 banks. Its four 16-byte chunks of eight
// channels are permuted, XOR with the number of the pair of pixels, so that the eight rows that one
// ldmatrix reads (chunk c of eight neighbouring pixels) meet all banks:
//
//   pixels 0, 1   [c0 c1 c2 c3 | c0 c1 c2 c3]
//   pixels 2, 3   [c1 c0 c3 c2 | c1 c0 c3 c2]
//   pixels 4, 5   [c2 c3 c0 c1 | c2 c3 c0 c1]
//   pixels 6, 7   [c3 c2 c1 c0 | c3 c2 c1 c0]
#pragma once

#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/cuda.h"
#include "kernels/whole_network.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

inline constexpr int kWholeWarps = 16, kWholeThreads = 32 * kWholeWarps;
inline constexpr int kMostTiles = 4;  // of 16 places by 32 channels, whose sums a warp can hold
inline constexpr int kPixelBytes = 2 * WholeNetworkLayer::kPlaneChannels;
inline constexpr int kMostChannels =
    WholeNetworkLayer::kMostPlanes * WholeNetworkLayer::kPlaneChannels;

using Pair = Vector<float, 2>;

struct alignas(128) WholeShared {
  static constexpr int kStages = 3;
  unsigned char stage[kStages][WholeNetworkStage::kBytes];  // weights
  unsigned char zeros[128];                                 // the pixel outside the image
  WholeNetworkLayer layer;                                  // the one that all are at
  Pair norm[kMostChannels];                                 // of its input: y = [0] x + [1]
  Pair partial[kWholeWarps][WholeNetworkLayer::kPlaneChannels];

  __device__ unsigned char* arena() { return reinterpret_cast<unsigned char*>(this + 1); }
};

// Bytes from a plane's beginning to eight channels of a pixel.
__device__ inline int chunk_at(int pixel, int chunk) {
  return pixel * kPixelBytes + ((pixel << 3 & 0x30) ^ chunk << 4);
}

__device__ inline Vector<bf16, 8> load_chunk(const unsigned char* plane, int pixel, int chunk) {
  return load<8>(reinterpret_cast<const bf16*>(plane + chunk_at(pixel, chunk)));
}
__device__ inline void store_chunk(unsigned char* plane, int pixel, int chunk,
                                   const float (&x)[8]) {
  store_shared(reinterpret_cast<bf16*>(plane + chunk_at(pixel, chunk)), from_floats<bf16>(x));
}

// The stages of all images of the block, one after the other, two ahead of their use: so the first
// weights of a layer arrive while the layer before it is still computed.
class WeightStream {
 public:
  __device__ WeightStream(const WholeNetworkArgs& args, int64_t images)
      : stages_(args.stages),
        count_(static_cast<int>(args.stage_count)),
        left_(images * args.stage_count),
        entry_(stages_[0]) {}

  __device__ void start(WholeShared& shared) {
    copy(shared, 0);
    copy(shared, 1);
  }
  // Waits for the next stage. A barrier: what was written to shared memory before may be read, and
  // nobody reads the stage before any more.
  __device__ const unsigned char* take(WholeShared& shared) {
    async_copy_wait<1>();
    __syncthreads();
    const int slot = slot_;
    slot_ = slot == WholeShared::kStages - 1 ? 0 : slot + 1;
    copy(shared, slot == 0 ? WholeShared::kStages - 1 : slot - 1);
    return shared.stage[slot];
  }

 private:
  __device__ void copy(WholeShared& shared, int slot) {
    static_assert(16 * kWholeThreads >= WholeNetworkStage::kBytes);
    const int at = 16 * static_cast<int>(threadIdx.x);
    if (left_ > 0 && at < entry_.bytes)
      async_copy_16(shared.stage[slot] + at,
                    reinterpret_cast<const unsigned char*>(entry_.weights) + at, true);
    async_copy_commit();
    --left_;
    next_ = next_ + 1 == count_ ? 0 : next_ + 1;
    entry_ = stages_[next_];
  }

  const WholeNetworkStage* stages_;
  int count_, next_ = 0, slot_ = 0;
  int64_t left_;
  WholeNetworkStage entry_;
};

}  // namespace diffscm::kernels::DIFFSCM_TARGET
