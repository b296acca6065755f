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

inline constexpr int kLog2Warps = 4, kWholeWarps = 1 << kLog2Warps;
inline constexpr int kWholeThreads = 32 * kWholeWarps;
inline constexpr int kMostTiles = 4;  // of 16 places by 32 channels, whose sums a warp can hold
inline constexpr int kMostRows = 16 * kMostTiles * kWholeWarps;  // of one plane of output
inline constexpr int kPixelBytes = 2 * WholeNetworkLayer::kPlaneChannels;
inline constexpr int kMostChannels =
    WholeNetworkLayer::kMostPlanes * WholeNetworkLayer::kPlaneChannels;

using Pair = Vector<float, 2>;

struct alignas(128) WholeShared {
  static constexpr int kStages = 2;
  unsigned char stage[kStages][WholeNetworkStage::kBytes];  // weights
  unsigned char zeros[128];                                 // the pixel outside the image
  WholeNetworkLayer layer;                                  // the one that all are at
  WholeNetworkStage next[kStages];  // what is copied to each `stage` next; no bytes: nothing
  int looked_up, images;     // of the list of stages; whose stages have not all been looked up
  int moved[9];              // by each of its taps, in pixels
  Pair norm[kMostChannels];  // of its input: y = [0] x + [1]
  Pair partial[kWholeWarps][WholeNetworkLayer::kPlaneChannels];

  __device__ unsigned char* arena() { return reinterpret_cast<unsigned char*>(this + 1); }
};

// The thread's number. What follows from it is computed again in each layer, rather than kept in
// registers that a convolution has not got.
__device__ inline int this_thread() {
  int t = static_cast<int>(threadIdx.x);
  forget_origin(t);
  return t;
}

__device__ inline int this_lane() {
  return this_thread() & (kWarp - 1);
}
__device__ inline int this_warp() {
  return this_thread() >> 5;
}

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

// The stages of all images of the block, one after the other, one ahead of their use: so the first
// weights of a layer arrive while the layer before it is still computed. One thread reads the list,
// another stage ahead.
class WeightStream {
 public:
  __device__ void start(WholeShared& shared, const WholeNetworkArgs& args, int images) {
    if (looks_up()) {
      shared.looked_up = 0;
      shared.images = images;
    }
    look_up(shared, args, 0);
    __syncthreads();
    copy(shared, args, 0);
  }
  // Waits for the next stage. A barrier: what was written to shared memory before may be read, and
  // nobody reads the stage before any more.
  __device__ const unsigned char* take(WholeShared& shared, const WholeNetworkArgs& args) {
    async_copy_wait<0>();
    __syncthreads();
    const int slot = slot_;
    slot_ = 1 - slot;
    copy(shared, args, slot_);
    return shared.stage[slot];
  }

 private:
  static_assert(WholeShared::kStages == 2);
  static __device__ bool looks_up() { return this_thread() == kWholeThreads - 1; }

  __device__ void copy(WholeShared& shared, const WholeNetworkArgs& args, int slot) {
    const WholeNetworkStage& next = shared.next[slot];
    const int bytes = next.bytes;
    const auto* const from = reinterpret_cast<const unsigned char*>(next.weights);
    for (int at = 16 * this_thread(); at < bytes; at += 16 * kWholeThreads)
      async_copy_16(shared.stage[slot] + at, from + at, true);
    async_copy_commit();
    look_up(shared, args, 1 - slot);
  }
  __device__ void look_up(WholeShared& shared, const WholeNetworkArgs& args, int slot) {
    if (!looks_up()) return;
    shared.next[slot] =
        shared.images > 0 ? args.stages[shared.looked_up] : WholeNetworkStage{nullptr, 0, 0};
    if (++shared.looked_up == static_cast<int>(args.stage_count)) {
      shared.looked_up = 0;
      --shared.images;
    }
  }

  int slot_ = 0;
};

}  // namespace diffscm::kernels::DIFFSCM_TARGET
