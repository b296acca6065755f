// Convolution in the whole-network kernel: sums[row, column] over taps and channels by wgmma, whose
// operands are planes and stages of weights where they lie. Two warpgroups share the tiles of 64
// rows, and hold all sums in registers until the end, so that the output may be written over what
// was read. Nobody loads an operand: a product of a whole warpgroup is one instruction, and a tap
// is an addition to where its rows begin.
#pragma once

#include "kernels/cuda/whole_network_output.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// Where the rows of a round's units begin, for the first tile: a unit is one tap of one plane. All
// threads; the list may be read after a barrier.
__device__ inline void list_units(WholeShared& shared, const int32_t* places, int planes,
                                  int taps_side, int origin) {
  const int unit = this_thread();
  if (unit >= planes * taps_side * taps_side) return;
  // Division by 1, 2 or 3, exact below 64.
  const int inverse = taps_side == 1 ? 256 : taps_side == 2 ? 128 : 86;
  const int line = unit * inverse >> 8, plane = line * inverse >> 8;
  const int row = line - plane * taps_side, column = unit - line * taps_side;
  shared.units[unit] = places[plane] / kPosition + origin +
                       row * WholeNetworkPlane{shared.layer.side}.pitch() + column;
}

// Where the warpgroup's operands begin, of a unit at position 0 and of the first stage.
template <int planes>
struct Operands {
  static constexpr int kColumns = WholeNetworkPlane::kChannels * planes;

  int chunk;  // positions of eight channels
  uint64_t a, b;

  __device__ Operands(WholeShared& shared, const WarpgroupTiles<planes>& mine)
      : chunk(WholeNetworkPlane{shared.layer.side}.chunk()),
        a(plain_descriptor(at_position(shared.arena(), mine.first * WholeNetworkPlane::kTileRows),
                           chunk * kPosition)),
        b(plain_descriptor(shared.stage[0], kColumns * kPosition)) {}
};

// Sums += so many units: the positions of A's rows are a list, B's the stage in `slot`.
template <int tiles, int planes>
__device__ inline void multiply(WholeSums& sums, const Operands<planes>& operands, const int* unit,
                                int units, int slot) {
  constexpr int kColumns = Operands<planes>::kColumns, kOfTile = WarpgroupTiles<planes>::kOfTile;
  uint64_t b = moved(operands.b, slot * (WholeNetworkStage::kBytes / kPosition));
#pragma unroll 1
  for (const int* const last = unit + units; unit < last; ++unit) {
    const uint64_t a = moved(operands.a, *unit);
    warpgroup_fence();
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // 16 channels, two chunks
#pragma unroll
      for (int t = 0; t < tiles; ++t)
        warpgroup_mma<false>(
            *reinterpret_cast<float(*)[kOfTile]>(sums + t * kOfTile),
            moved(a, half * 2 * operands.chunk + t * kGroups * WholeNetworkPlane::kTileRows),
            moved(b, half * 2 * kColumns));
    }
    warpgroup_commit();
    b = moved(b, WholeNetworkPlane::kChunks * kColumns);
  }
  warpgroup_wait<0>();
  arrived(sums);
}

// As many tiles as the warpgroup has, `tiles` or more: registers can only be named by numbers that
// the compiler knows.
template <int tiles, int planes>
__device__ inline void multiply_tiles(WholeSums& sums, int count, const Operands<planes>& operands,
                                      const int* unit, int units, int slot) {
  if (count == tiles)
    multiply<tiles>(sums, operands, unit, units, slot);
  else if constexpr (tiles < WarpgroupTiles<planes>::kMost)
    multiply_tiles<tiles + 1>(sums, count, operands, unit, units, slot);
}

// A plane that waits in device memory, with its borders.
__device__ inline void restore(unsigned char* to, const unsigned char* from, int bytes) {
  for (int i = 16 * this_thread(); i < bytes; i += 16 * kWholeThreads)
    store_shared(to + i, load<16>(from + i));
}

// One layer, convolution or last. All threads; the output may be read after a barrier.
template <int out_planes>
__device__ inline void convolve(WholeShared& shared, WeightStream& weights,
                                const WholeNetworkArgs& args, const float* told,
                                const unsigned char* saved, float* image) {
  const WholeNetworkLayer& layer = shared.layer;
  const WholeNetworkPlane plane{layer.side};
  const WarpgroupTiles<out_planes> mine(layer);
  const Operands<out_planes> operands(shared, mine);
  add_up_bias(shared, told);
  if (layer.groups > 0) prepare_norm(shared, saved);

  WholeSums sums;
#pragma unroll
  for (float& sum : sums) sum = 0;
  arrived(sums);
  int done = 0, shortcuts = 0;  // planes
  while (done < layer.planes || shortcuts < layer.shortcuts) {
    if (done + shortcuts > 0) __syncthreads();  // the planes before are still read
    const bool whole = done < layer.planes;     // with all taps
    const int taps_side = whole ? layer.taps_side : 1;
    int planes = 0;
    const int32_t* places = nullptr;
    if (whole) {
      planes = min(layer.at_once, layer.planes - done);
      if (layer.groups > 0) normalise(shared, saved, done, done + planes);
      places = layer.read + done;
      done += planes;
    } else {
      while (shortcuts + planes < layer.shortcuts && layer.shortcut[shortcuts + planes] >= 0)
        ++planes;
      places = layer.shortcut + shortcuts;
      if (planes == 0) {
        planes = 1;
        restore(shared.arena() + layer.restored, saved + ~layer.shortcut[shortcuts],
                plane.sums_at());
        places = &layer.restored;
      }
      shortcuts += planes;
    }
    list_units(shared, places, planes, taps_side,
               whole ? (layer.tap_y + 1) * plane.pitch() + layer.tap_x + 1 : plane.first());
    const int units = planes * taps_side * taps_side;
    constexpr int at_once = WholeNetworkStage::units_of(WholeNetworkPlane::kChannels * out_planes);
    for (int first = 0; first < units; first += at_once) {
      const int slot = weights.take(shared, args);
      if (mine.count > 0)
        multiply_tiles<1>(sums, mine.count, operands, shared.units + first,
                          min(units - first, at_once), slot);
    }
  }
  __syncthreads();  // nobody reads what is now written over
  if constexpr (out_planes == 1)
    if (layer.kind == WholeNetworkLayer::Kind::last) return write_image(sums, mine, shared, image);
  write_planes(sums, mine, shared, told);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
