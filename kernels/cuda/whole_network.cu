// A whole network in one kernel: the top of the ladder for small images. A block takes one image
// through all layers; what flows between them never leaves its shared memory, and the weights, the
// same for all blocks, come from the L2 while the layers are computed.
//
// The layers are data (kernels/whole_network.h); the kernel only knows how each kind is done. All
// warps work on one layer at a time, between two barriers. One block fills a multiprocessor: eight
// warps with all of its registers, and up to all of its shared memory. Compiled for sm_90a, whose
// products read their operands from there; for other architectures the kernel is empty.
#include "kernels/cuda/device/shared_limit.h"
#include "kernels/cuda/whole_network_attention.h"
#include "kernels/cuda/whole_network_convolution.h"
#include "kernels/cuda/whole_network_ends.h"

#include <algorithm>

#include "kernels/targets.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

// Copies the next layer's description to where all read it: two barriers, of which the first says
// that the layer before is done.
__device__ void next_layer(WholeShared& shared, const WholeNetworkLayer* layers, int layer) {
  constexpr int kWords = sizeof(WholeNetworkLayer) / sizeof(uint32_t);
  static_assert(sizeof(WholeNetworkLayer) % sizeof(uint32_t) == 0 && kWords <= kWholeThreads);
  const int t = this_thread();
  uint32_t word = 0;
  if (t < kWords) word = reinterpret_cast<const uint32_t*>(layers + layer)[t];
  __syncthreads();
  if (t < kWords) reinterpret_cast<uint32_t*>(&shared.layer)[t] = word;
  __syncthreads();
}

__global__ void __launch_bounds__(kWholeThreads, 1)
    whole_network_kernel(WholeNetworkArgs args, unsigned char* saved) {
  follow_previous_kernel();
  if constexpr (kHasWarpgroups) {
    auto& shared = shared_memory<WholeShared>();
    const int t = this_thread();
    WeightStream weights;
    weights.start(shared, args,
                  static_cast<int>((args.n - blockIdx.x + gridDim.x - 1) / gridDim.x));
    if (t < 4) reinterpret_cast<uint32_t*>(shared.zeros)[t] = 0;
    // Products read positions that nobody writes, for rows of the result that nobody uses.
    for (int i = kPosition * t; i < args.arena_bytes; i += kPosition * kWholeThreads)
      store_eight(shared.arena() + i, {});
    saved += blockIdx.x * args.saved_bytes;

    const auto images = static_cast<int>(args.n), layers = static_cast<int>(args.layer_count);
    for (int n = static_cast<int>(blockIdx.x); n < images; n += static_cast<int>(gridDim.x)) {
      for (int layer = 0; layer < layers; ++layer) {
        next_layer(shared, args.layers, layer);
        int now = n;
        forget_origin(now);  // rather than keep the image's addresses from layer to layer
        const float* const told = args.told + now * args.told_width;
        const int64_t image = now * args.side * args.side * args.channels;
        using Kind = WholeNetworkLayer::Kind;
        switch (shared.layer.kind) {
          case Kind::unfold:
            unfold(shared, args.x + image);
            break;
          case Kind::convolution:
          case Kind::last:
            if (shared.layer.out_planes == 2)
              convolve<2>(shared, weights, args, told, saved, args.y + image);
            else
              convolve<1>(shared, weights, args, told, saved, args.y + image);
            break;
          case Kind::attention:
            attend(shared);
            break;
          case Kind::save:
            save(shared, saved);
            break;
        }
      }
    }
  }
}

// One number of a packed weight (WholeNetworkPackArgs).
__device__ float packed_number(const WholeNetworkPackArgs& args, int64_t tap, int64_t column,
                               int64_t c) {
  using Use = WholeNetworkPackArgs::Use;
  const int64_t filter = args.filter, out = args.first_out + column;
  const auto weight = [&](int64_t k, int64_t row, int64_t of_row, int64_t channel) {
    return args.weight[((k * filter + row) * filter + of_row) * args.c + channel];
  };
  const auto part = [](float w, bool low) {
    const float high = to_float(from_float<bf16>(w));
    return low ? w - high : high;
  };
  switch (args.use) {
    case Use::taps:
      return weight(out, tap / filter, tap % filter, c);
    case Use::identity:
      return c == out ? 1 : 0;
    case Use::unfolded: {
      const int64_t seen = 9 * args.c, at = c % seen;
      if (c / seen > 2) return 0;
      return part(weight(out, at / args.c / 3, at / args.c % 3, at % args.c), c / seen == 2);
    }
    case Use::last:
      if (column / 2 >= args.k) return 0;
      return part(weight(column / 2, tap / filter, tap % filter, c), column % 2 != 0);
    case Use::phase:
      break;
  }
  // The filter's rows and columns that this tap adds up.
  const auto taps_of = [](int64_t which, int odd, int64_t& first, int64_t& count) {
    first = odd != 0 ? 2 * which : which;
    count = which == odd ? 1 : 2;
  };
  int64_t row0 = 0, rows = 1, column0 = 0, columns = 1;
  taps_of(tap / 2, args.phase / 2, row0, rows);
  taps_of(tap % 2, args.phase % 2, column0, columns);
  float sum = 0;
  for (int64_t r = row0; r < row0 + rows; ++r)
    for (int64_t s = column0; s < column0 + columns; ++s) sum += weight(out, r, s, c);
  return sum;
}

// A thread makes eight channels of a column.
__global__ void whole_network_pack_kernel(WholeNetworkPackArgs args) {
  follow_previous_kernel();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= args.numel() / 8) return;
  const int64_t column = i % args.columns, chunk = i / args.columns % WholeNetworkPlane::kChunks;
  const int64_t unit = i / args.columns / WholeNetworkPlane::kChunks;
  const int64_t c = (unit / args.taps() * WholeNetworkPlane::kChunks + chunk) * 8;
  float x[8];
#pragma unroll
  for (int k = 0; k < 8; ++k) x[k] = packed_number(args, unit % args.taps(), column, c + k);
  store(args.packed + i * 8, from_floats<bf16>(x));
}

void pack(const WholeNetworkPackArgs& args, Stream stream) {
  constexpr int kThreads = 128;
  launch<whole_network_pack_kernel>(static_cast<unsigned>(ceil_div(args.numel() / 8, kThreads)),
                                    kThreads, 0, stream, args);
}

void run(const WholeNetworkArgs& args, Stream stream) {
  const auto blocks = std::min<int64_t>(args.n, multiprocessors());
  void* const saved = args.saved_bytes > 0
                          ? workspace(static_cast<size_t>(blocks * args.saved_bytes), stream)
                          : nullptr;
  launch<whole_network_kernel>(static_cast<unsigned>(blocks), kWholeThreads,
                               sizeof(WholeShared) + static_cast<size_t>(args.arena_bytes), stream,
                               args, static_cast<unsigned char*>(saved));
}

int64_t arena_bytes() {
  return static_cast<int64_t>(most_shared_memory()) - static_cast<int64_t>(sizeof(WholeShared));
}
// Whose sums a warpgroup can hold.
int most_tiles(int out_planes) {
  constexpr int kSums = sizeof(WholeSums) / sizeof(float);
  return kGroups * kSums / (WholeNetworkPlane::kChannels / 2 * out_planes);
}

}  // namespace

const WholeNetwork& whole_network() {
  static const WholeNetwork network{has_wgmma, arena_bytes, most_tiles, run, pack};
  return network;
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
