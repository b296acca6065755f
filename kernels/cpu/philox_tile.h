// Philox for many consecutive blocks at once. The numbers are those of philox() in
// kernels/random.h, word for word; only the order of the work differs.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/random.h"

namespace diffscm::kernels::cpu {

// Blocks come in tiles: a few vectors of counters fill the registers.
inline constexpr int kTileBlocks = 32;
inline constexpr int kTileWords = 4 * kTileBlocks;

// words[4 * j + i] = word i of block first_block + j, for j < tiles * kTileBlocks.
void philox_tiles(const RandomKey& key, uint64_t sample, uint32_t first_block, int64_t tiles,
                  uint32_t* words);

// Dropout's 16-bit draws: draw e is draws[e - 8 * first_block]. Two draws share a word, low half
// first, which on a little-endian machine is simply how the words lie in memory.
static_assert(std::endian::native == std::endian::little);
inline constexpr int64_t kTileDraws = 2 * kTileWords;

}  // namespace diffscm::kernels::cpu
