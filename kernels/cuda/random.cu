// Standard normal numbers from counters: one thread for each Philox block, that is for four
// numbers, which it stores at once. A number depends on its key, sample and position alone, so
// threads share nothing; about a hundred integer operations for 16 bytes. Words and arithmetic are
// those of the cpu target, by the same headers: the same bits.
#include "kernels/box_muller.h"
#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

// `whole`: every block of four is complete and aligned.
template <bool whole>
__global__ void __launch_bounds__(kElementThreads) draw_normals(NormalArgs args) {
  follow_previous_kernel();
  const RandomKey key = resolved(args.key);
  const int64_t blocks = ceil_div(args.elements, 4);
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < args.n * blocks;
       i += step) {
    const int64_t n = i / blocks, block = i % blocks;
    const Philox words =
        philox(key, static_cast<uint64_t>(args.index[n]), static_cast<uint32_t>(block));
    const NormalPair low = box_muller(words.word[0], words.word[1]);
    const NormalPair high = box_muller(words.word[2], words.word[3]);
    const Vector<float, 4> y = {low.first, low.second, high.first, high.second};
    float* to = args.y + n * args.elements + block * 4;
    if constexpr (whole) {
      store(to, y);
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (block * 4 + j < args.elements) to[j] = y[j];
    }
  }
}

}  // namespace

void normal(const NormalArgs& args, Stream stream) {
  if (args.n * args.elements == 0) return;
  const dim3 grid = element_grid(args.n * ceil_div(args.elements, 4), 1), threads(kElementThreads);
  if (args.elements % 4 == 0 && aligned16(args.y))
    launch<draw_normals<true>>(grid, threads, 0, stream, args);
  else
    launch<draw_normals<false>>(grid, threads, 0, stream, args);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
