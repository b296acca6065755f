// Standard normal numbers from counters: Philox words for a tile of blocks, then Box-Muller on
// pairs of words. A number depends on its key, sample and position alone, so tiles may be made in
// any order by any thread.
#include <cstring>

#include "kernels/box_muller.h"
#include "kernels/cpu/clones.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/philox_tile.h"
#include "kernels/cpu/table.h"

namespace diffscm::kernels::cpu {
namespace {

// y[i], y[i + 1] from words[i], words[i + 1].
template <bool fused>
DIFFSCM_INLINE void to_normal(const uint32_t* words, float* y) {
  for (int i = 0; i < kTileWords; i += 2) {
    const NormalPair pair = box_muller<fused>(words[i], words[i + 1]);
    y[i] = pair.first;
    y[i + 1] = pair.second;
  }
}
DIFFSCM_INLINE void to_normal_fused_leaf(const uint32_t* words, float* y) {
  to_normal<true>(words, y);
}
constexpr Clones<to_normal_fused_leaf> to_normal_fused;
void to_normal_separate(const uint32_t* words, float* y) {
  to_normal<false>(words, y);
}

bool has_multiply_add() {
#ifdef __FP_FAST_FMAF
  return true;
#else
  return chosen_isa() != Isa::kV1;
#endif
}

void normal_tile(const RandomKey& key, uint64_t sample, uint32_t first_block, float* y) {
  uint32_t words[kTileWords];
  philox_tiles(key, sample, first_block, 1, words);
  has_multiply_add() ? to_normal_fused(words, y) : to_normal_separate(words, y);
}

}  // namespace

void normal(const NormalArgs& args, Stream) {
  if (args.n * args.elements == 0) return;
  const RandomKey key = resolved(args.key);
  const int64_t tiles = (args.elements + kTileWords - 1) / kTileWords;
  parallel_tasks(args.n * tiles, args.n * args.elements * 4, [&](int64_t task) {
    const int64_t n = task / tiles, begin = task % tiles * kTileWords;
    const auto sample = static_cast<uint64_t>(args.index[n]);
    const auto block = static_cast<uint32_t>(begin / 4);
    float* y = args.y + n * args.elements + begin;
    if (begin + kTileWords <= args.elements) {
      normal_tile(key, sample, block, y);
    } else {
      float last[kTileWords];
      normal_tile(key, sample, block, last);
      std::memcpy(y, last, static_cast<size_t>(args.elements - begin) * sizeof(float));
    }
  });
}

}  // namespace diffscm::kernels::cpu
