// Philox for many consecutive blocks at once: each round is the same arithmetic on arrays of
// counters, which gcc vectorises. The numbers are those of philox() in kernels/random.h, word for
// word.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/cpu/clones.h"
#include "kernels/random.h"

namespace diffscm::kernels::cpu {

inline constexpr int kTileBlocks = 32;
inline constexpr int kTileWords = 4 * kTileBlocks;

// words[4 * j + i] = word i of block first_block + j, for j < kTileBlocks.
DIFFSCM_INLINE void philox_tile(const RandomKey& key, uint64_t sample, uint32_t first_block,
                                uint32_t* words) {
  uint32_t k0 = static_cast<uint32_t>(key.seed);
  uint32_t k1 =
      static_cast<uint32_t>(key.seed >> 32) ^ (static_cast<uint32_t>(key.purpose) * 0x9E3779B9u);
  uint32_t c0[kTileBlocks], c1[kTileBlocks], c2[kTileBlocks], c3[kTileBlocks];
  for (int j = 0; j < kTileBlocks; ++j) {
    c0[j] = first_block + static_cast<uint32_t>(j);
    c1[j] = static_cast<uint32_t>(sample);
    c2[j] = static_cast<uint32_t>(sample >> 32);
    c3[j] = key.step;
  }
  for (int round = 0; round < 10; ++round) {
    for (int j = 0; j < kTileBlocks; ++j) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c0[j];
      const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2[j];
      c0[j] = static_cast<uint32_t>(p1 >> 32) ^ c1[j] ^ k0;
      c2[j] = static_cast<uint32_t>(p0 >> 32) ^ c3[j] ^ k1;
      c1[j] = static_cast<uint32_t>(p1);
      c3[j] = static_cast<uint32_t>(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int j = 0; j < kTileBlocks; ++j) {
    words[4 * j] = c0[j];
    words[4 * j + 1] = c1[j];
    words[4 * j + 2] = c2[j];
    words[4 * j + 3] = c3[j];
  }
}

// Dropout's 16-bit draws: draw e is draws[e - 8 * first_block]. Two draws share a word, low half
// first, which on a little-endian machine is simply how the words lie in memory.
static_assert(std::endian::native == std::endian::little);
inline constexpr int64_t kTileDraws = 2 * kTileWords;

}  // namespace diffscm::kernels::cpu
