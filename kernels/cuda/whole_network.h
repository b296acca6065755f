// What the parts of the whole-network kernel share: the block's shared memory, where a number of a
// plane lies in it, and the stream of weights.
#pragma once

#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/bulk_copy.h"
#include "kernels/cuda/device/wgmma.h"
#include "kernels/whole_network.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

inline constexpr int kGroups = 2, kWarpsOfGroup = kWarpgroup / kWarp;
inline constexpr int kWholeWarps = kGroups * kWarpsOfGroup;
inline constexpr int kWholeThreads = kGroups * kWarpgroup;
inline constexpr int kPosition = 16;  // bytes
inline constexpr int kMostChannels = WholeNetworkLayer::kMostPlanes * WholeNetworkPlane::kChannels;
inline constexpr int kMostColumns =
    WholeNetworkLayer::kMostOutPlanes * WholeNetworkPlane::kChannels;

using Pair = Vector<float, 2>;

struct alignas(128) WholeShared {
  static constexpr int kStages = 3;
  unsigned char stage[kStages][WholeNetworkStage::kBytes];  // weights
  // Read, and written, in place of a pixel that is not in the image.
  alignas(16) unsigned char zeros[kPosition], spare[kPosition];
  WholeNetworkLayer layer;  // the one that all are at
  WholeNetworkStage next;   // what is copied to a `stage` next
  CopyBarrier arrived[kStages];
  int stage_at, stages_left;  // in the list of stages, behind `next`; to be copied, of all images
  int units[WholeNetworkLayer::kMostPlanes * 9];  // list_units
  float bias[kMostColumns];                       // all that is added to a channel of the output
  union {                                         // the one, and then the other
    // Of the input, then of the output: y = [0] x + [1].
    alignas(16) Pair norm[kMostChannels];
    Pair partial[kWholeWarps][kMostColumns];  // of the output's sums, by warp
  };

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
// The same in all lanes, which the compiler so knows. The whole warp.
__device__ inline int this_warp() {
  return __shfl_sync(kFullMask, this_thread() >> 5, 0);
}

// A row of the matrix product as row and column of the image (whose last column is the zero after
// it), by a multiplication: exact for up to 2048 rows of up to 64 pixels. inverse: of the pitch
// (WholeNetworkPlane).
struct PixelOfRow {
  int pitch, inverse;
  static __device__ PixelOfRow of(const WholeNetworkLayer& layer) {
    return {WholeNetworkPlane{layer.side}.pitch(), layer.inverse};
  }
  __device__ int y(int row) const { return row * inverse >> 20; }
  __device__ int x(int row, int y) const { return row - y * pitch; }
};

// Eight channels at a position.
__device__ inline unsigned char* at_position(unsigned char* plane, int position) {
  return plane + kPosition * position;
}
__device__ inline const unsigned char* at_position(const unsigned char* plane, int position) {
  return plane + kPosition * position;
}
__device__ inline void store_eight(unsigned char* to, const float (&x)[8]) {
  store_shared(reinterpret_cast<bf16*>(to), from_floats<bf16>(x));
}

// The zeros around a plane's image. All threads, no barrier.
__device__ inline void clear_borders(unsigned char* plane, const WholeNetworkPlane& p) {
  constexpr int kShare = kWarp * kWholeWarps / WholeNetworkPlane::kChunks;  // of a chunk
  const int thread = this_thread(), chunk = thread / kShare;
  const int above = p.pitch() + 1, left = p.side - 1;  // the first zero at the left is among those
  const auto zeros = std::bit_cast<Vector<bf16, 8>>(uint4{});
  const auto clear = [&](int position) {
    store_shared(reinterpret_cast<bf16*>(at_position(plane, position)), zeros);
  };
  for (int i = thread % kShare; i < above + left; i += kShare) {
    clear(chunk * p.chunk() + (i < above ? i : (i - above + 2) * p.pitch()));
    if (chunk == 0 && i < above) clear(WholeNetworkPlane::kChunks * p.chunk() + i);
  }
}

// The stages of all images of the block, one after the other, two ahead of their use: so the first
// weights of a layer arrive while the layer before it is still computed. One thread starts the
// copies, and has the list's next entry copied to where it will look for it.
class WeightStream {
 public:
  __device__ void start(WholeShared& shared, const WholeNetworkArgs& args, int images) {
    if (starts()) {
      shared.stage_at = 0;
      shared.stages_left = images * static_cast<int>(args.stage_count);
      for (CopyBarrier& barrier : shared.arrived) initialise(barrier, 1);
      look_up(shared, args);
    }
    __syncthreads();
    for (int slot = 0; slot < WholeShared::kStages - 1; ++slot) copy(shared, args, slot);
  }
  // Waits for the next stage, and says which it is. A barrier: what was written to shared memory
  // before may be read, also by wgmma, and nobody reads the stage before any more.
  __device__ int take(WholeShared& shared, const WholeNetworkArgs& args) {
    async_proxy_fence();
    __syncthreads();
    const int slot = slot_, phase = phase_;
    slot_ = slot == WholeShared::kStages - 1 ? 0 : slot + 1;
    if (slot_ == 0) phase_ = 1 - phase;
    copy(shared, args, slot == 0 ? WholeShared::kStages - 1 : slot - 1);
    wait_for_copies(shared.arrived[slot], phase);
    return slot;
  }

 private:
  static __device__ bool starts() { return this_thread() == kWholeThreads - 1; }

  static __device__ void copy(WholeShared& shared, const WholeNetworkArgs& args, int slot) {
    if (!starts() || shared.stages_left == 0) return;
    --shared.stages_left;
    async_copy_wait<0>();
    const WholeNetworkStage stage = shared.next;
    expect_copies(shared.arrived[slot], stage.bytes);
    bulk_copy(shared.stage[slot], stage.weights, stage.bytes, shared.arrived[slot]);
    look_up(shared, args);
  }
  static __device__ void look_up(WholeShared& shared, const WholeNetworkArgs& args) {
    const int at = shared.stage_at;
    async_copy_16(&shared.next, args.stages + at, true);
    async_copy_commit();
    shared.stage_at = at + 1 == static_cast<int>(args.stage_count) ? 0 : at + 1;
  }

  int slot_ = 0, phase_ = 0;
};

}  // namespace diffscm::kernels::DIFFSCM_TARGET
