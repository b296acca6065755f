// What becomes of a convolution's sums in the whole-network kernel: planes, with the sums that a
// group norm will need, or already normalised; or the image.
//
// A thread holds pairs of columns of two rows of a tile (device/wgmma.h). A warp's 16 rows of it
// lie one after the other in a plane, or at least each row's eight channels do, and so the warp
// reads back what it has just written, transposed: as the fragment of an mma whose sums run over
// pixels. For eight channels, with X the 16 pixels by these,
//
//   | X^T |       | squares on the diagonal |
//   | 1 1 |  X =  | sums in every row       |
//
// which is one instruction for 128 numbers, sums them on tensor cores, and needs no shuffles.
#pragma once

#include "kernels/cuda/device/mma.h"
#include "kernels/cuda/whole_network_norm.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

using WholeSums = float[256 / kGroups];  // of a thread, of 64 x 32 squares one after the other

// The squares of a warpgroup: of its tiles, `first` and then every kGroups-th, one for each plane
// of the output.
template <int planes>
struct WarpgroupTiles {
  static constexpr int kOfTile = WholeNetworkPlane::kChannels / 2 * planes;  // sums of a thread
  static constexpr int kMost = sizeof(WholeSums) / sizeof(float) / kOfTile;

  int all, first, count;

  __device__ explicit WarpgroupTiles(const WholeNetworkLayer& layer)
      : all(WholeNetworkPlane{layer.side}.tiles()), first(this_warp() / kWarpsOfGroup) {
    count = first < all ? (all - first - 1) / kGroups + 1 : 0;
  }
  __device__ int warps() const { return min(all, kGroups) * kWarpsOfGroup; }  // that have sums
};

// All that is added to the output's channels. All threads, no barrier.
__device__ inline void add_up_bias(WholeShared& shared, const float* told) {
  const WholeNetworkLayer& layer = shared.layer;
  const int c = this_thread();
  if (layer.kind == WholeNetworkLayer::Kind::last) {
    if (c < layer.image_channels) shared.bias[c] = layer.bias[c];
  } else if (c < layer.columns()) {
    float bias = layer.bias != nullptr ? layer.bias[c] : 0;
    if (layer.shortcut_bias != nullptr) bias += layer.shortcut_bias[c];
    if (layer.told_bias >= 0) bias += told[layer.told_bias + c];
    shared.bias[c] = bias;
  }
}

// Calls f(d, row) for each of the warp's squares of an output plane: d its 16 numbers of this
// thread, the fragments of four eights of columns; row: the first of the warp's 16.
template <int planes, class F>
__device__ inline void each_square(WholeSums& sums, const WarpgroupTiles<planes>& mine, int plane,
                                   F f) {
  constexpr int kApart = kGroups * WholeNetworkPlane::kTileRows;
  const int first_row = (mine.first * kWarpsOfGroup + this_warp() % kWarpsOfGroup) * 16;
#pragma unroll
  for (int tile = 0; tile < WarpgroupTiles<planes>::kMost; ++tile) {
    if (tile >= mine.count) break;
#pragma unroll
    for (int square = 0; square < planes; ++square)
      if (square == plane)
        f(*reinterpret_cast<float(*)[16]>(sums + 16 * (tile * planes + square)),
          first_row + tile * kApart);
  }
}

// Where a row of the product is in the output, or -1: it is none of the image's, or left out.
struct Placed {
  const WholeNetworkLayer& layer;

  __device__ int operator()(int row) const {
    const auto pixel = PixelOfRow::of(layer);
    const int y = pixel.y(row), x = pixel.x(row, y);
    const bool inside = y < layer.side && x < layer.side;
    if (layer.out_step == layer.stride) return inside ? row + layer.side + 2 : -1;  // both are 1
    const int skipped = layer.stride - 1;
    if (!inside || ((y | x) & skipped) != 0) return -1;
    const WholeNetworkPlane out{layer.out_side};
    return out.first() + ((y >> skipped) * layer.out_step + layer.out_y) * out.pitch() +
           (x >> skipped) * layer.out_step + layer.out_x;
  }
};

// Where this lane reads or writes a row of four 8x8 matrices, of the warp's 16 rows by two chunks:
// the first eight rows, then the others, of one chunk, then of the next.
struct SquareRow {
  WholeShared& shared;
  int at, apart;  // bytes from the arena's beginning; to the next two chunks
  bool inside;    // the image

  // position: of row lane % 16 of the output.
  __device__ SquareRow(WholeShared& shared_, int plane, int chunk, int position)
      : shared(shared_),
        at(plane + kPosition * (this_lane() / 16 * chunk + position)),
        apart(2 * chunk * kPosition),
        inside(position >= 0) {}

  __device__ unsigned char* row(int i, size_t otherwise) const {
    const int begin = static_cast<int>(sizeof(WholeShared));
    return reinterpret_cast<unsigned char*>(&shared) +
           (inside ? begin + at + i * apart : static_cast<int>(otherwise));
  }
  __device__ void store(const float (&d)[16]) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float* const x = d + 8 * i;
      stmatrix_x4(row(i, offsetof(WholeShared, spare)),
                  {pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]), pack_bf16(x[4], x[5]),
                   pack_bf16(x[6], x[7])},
                  inside);
    }
  }
  // Adds up what the warp has stored.
  __device__ void add_up(float (&sums)[WholeNetworkPlane::kChunks][4]) const {
    constexpr uint32_t kOnes = 0x3f803f80;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      uint32_t x[4];
      ldmatrix_x4_transposed(x, row(i, offsetof(WholeShared, zeros)));
      mma_m16n8k16(sums[2 * i], {x[0], kOnes, x[1], kOnes}, {x[0], x[1]});
      mma_m16n8k16(sums[2 * i + 1], {x[2], kOnes, x[3], kOnes}, {x[2], x[3]});
    }
  }
};

// The layer's output. Ends without a barrier.
template <int planes>
__device__ inline void write_planes(WholeSums& sums, const WarpgroupTiles<planes>& mine,
                                    WholeShared& shared, const float* told) {
  const WholeNetworkLayer& layer = shared.layer;
  const WholeNetworkPlane out{layer.out_side};
  const int warp = this_warp(), lane = this_lane(), g = lane / 4, t = lane % 4;
  const Placed placed{layer};
  if (layer.joins == 0)
    for (int i = 0; i < planes; ++i) clear_borders(shared.arena() + layer.out[i], out);

  for (int p = 0; p < planes; ++p) {
    float added[WholeNetworkPlane::kChunks][4] = {};
    each_square(sums, mine, p, [&](float(&d)[16], int row) {
#pragma unroll
      for (int j = 0; j < WholeNetworkPlane::kChunks; ++j) {
        const Pair bias = load<2>(shared.bias + 32 * p + 8 * j + 2 * t);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          d[4 * j + 2 * half] += bias[0];
          d[4 * j + 2 * half + 1] += bias[1];
        }
      }
      const SquareRow place(shared, layer.out[p], out.chunk(), placed(row + lane % 16));
      place.store(d);
      __syncwarp();
      place.add_up(added);
    });
    // Lane (g, t) has the squares of channels 2 t and 2 t + 1 with channel g.
    if (g / 2 == t) {
#pragma unroll
      for (int j = 0; j < WholeNetworkPlane::kChunks; ++j)
        store_shared(&shared.partial[warp][32 * p + 8 * j + g].v[0],
                     g % 2 == 0 ? Pair{added[j][2], added[j][0]} : Pair{added[j][3], added[j][1]});
    }
  }
  __syncthreads();

  const int c = this_thread(), channels = WholeNetworkPlane::kChannels * planes;
  const auto sums_of_channel = [&](int channel) {
    return reinterpret_cast<float*>(shared.arena() + layer.out[channel / 32] + out.sums_at() +
                                    channel % 32 * 8);
  };
  if (c < channels) {
    float sum = 0, squares = 0;
    for (int i = 0; i < mine.warps(); ++i) {
      const Pair part = load<2>(&shared.partial[i][c].v[0]);
      sum += part[0];
      squares += part[1];
    }
    if (layer.joins != 0) {
      const Pair before = load<2>(sums_of_channel(c));
      sum += before[0];
      squares += before[1];
    }
    store_shared(sums_of_channel(c), Pair{sum, squares});
  }
  if (layer.out_groups == 0) return;

  __syncthreads();
  if (c < channels) {
    float scale = 0.5f, shift = 0;  // silu_of_half
    if (layer.scale_shift >= 0) {
      scale += 0.5f * told[layer.scale_shift + c];
      shift = 0.5f * told[layer.scale_shift + channels + c];
    }
    const Pair norm = norm_of(c, channels, layer.out_groups, layer.out_side * layer.out_side,
                              layer.eps, layer.out_gamma[c], layer.out_beta[c],
                              [&](int channel) { return load<2>(sums_of_channel(channel)); });
    store_shared(&shared.norm[c].v[0], Pair{norm[0] * scale, norm[1] * scale + shift});
  }
  __syncthreads();
  for (int p = 0; p < planes; ++p) {
    each_square(sums, mine, p, [&](float(&d)[16], int row) {
#pragma unroll
      for (int j = 0; j < WholeNetworkPlane::kChunks; ++j) {
        const auto norm = load<4>(&shared.norm[32 * p + 8 * j + 2 * t].v[0]);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float* const x = d + 4 * j + 2 * half;
          x[0] = silu_of_half(norm[0] * x[0] + norm[1]);
          x[1] = silu_of_half(norm[2] * x[1] + norm[3]);
        }
      }
      SquareRow(shared, layer.out[p], out.chunk(), placed(row + lane % 16)).store(d);
    });
  }
}

// The network's answer: of each channel the two columns together (unfold in
// kernels/whole_network.h).
__device__ inline void write_image(const WholeSums& sums, const WarpgroupTiles<1>& mine,
                                   const WholeShared& shared, float* image) {
  const WholeNetworkLayer& layer = shared.layer;
  const int lane = this_lane(), channel = lane % 4;
  const int first_row = (mine.first * kWarpsOfGroup + this_warp() % kWarpsOfGroup) * 16 + lane / 4;
  constexpr int kApart = kGroups * WholeNetworkPlane::kTileRows;
  const auto pixel = PixelOfRow::of(layer);
  if (channel >= layer.image_channels) return;
#pragma unroll
  for (int i = 0; i < WarpgroupTiles<1>::kMost; ++i) {
    if (i >= mine.count) break;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + i * kApart + 8 * half;
      const int y = pixel.y(row), x = pixel.x(row, y);
      if (y < layer.side && x < layer.side)
        image[(y * layer.side + x) * layer.image_channels + channel] =
            sums[16 * i + 2 * half] + sums[16 * i + 2 * half + 1] + shared.bias[channel];
    }
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
