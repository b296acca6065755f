// Philox on vectors of 64-bit lanes, one block per lane. Included by philox_tile.cpp once per
// instruction set, inside a namespace that defines kWide (lanes), Wide (the vector) and multiply
// (the product of the low 32-bit halves of each lane, one instruction everywhere).
//
// A lane's upper half may hold anything: multiply ignores it and the last line drops it. So a round
// costs two products, two shifts and two three-way xors for kWide blocks, and no shuffles.

inline void philox_group(const RandomKey& key, uint64_t sample, uint32_t first_block,
                         uint32_t* words) {
  constexpr int kVectors = kTileBlocks / kWide < 4 ? kTileBlocks / kWide : 4;
  constexpr int kBlocks = kVectors * kWide;
  Wide lane_number{};
  for (int lane = 0; lane < kWide; ++lane) lane_number[lane] = static_cast<uint64_t>(lane);
  uint32_t k0 = static_cast<uint32_t>(key.seed);
  uint32_t k1 =
      static_cast<uint32_t>(key.seed >> 32) ^ (static_cast<uint32_t>(key.purpose) * 0x9E3779B9u);
  for (int first = 0; first < kTileBlocks; first += kBlocks) {
    Wide c0[kVectors], c1[kVectors], c2[kVectors], c3[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      c0[v] = lane_number + (first_block + static_cast<uint32_t>(first + v * kWide));
      c1[v] = Wide{} + static_cast<uint32_t>(sample);
      c2[v] = Wide{} + (sample >> 32);
      c3[v] = Wide{} + key.step;
    }
    uint32_t r0 = k0, r1 = k1;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const Wide p0 = multiply(c0[v], Wide{} + 0xD2511F53u);
        const Wide p1 = multiply(c2[v], Wide{} + 0xCD9E8D57u);
        c0[v] = (p1 >> 32) ^ c1[v] ^ (Wide{} + r0);
        c2[v] = (p0 >> 32) ^ c3[v] ^ (Wide{} + r1);
        c1[v] = p1;
        c3[v] = p0;
      }
      r0 += 0x9E3779B9u;
      r1 += 0xBB67AE85u;
    }
    for (int v = 0; v < kVectors; ++v) {
      const Wide low = (c0[v] & 0xFFFFFFFFu) | (c1[v] << 32);
      const Wide high = (c2[v] & 0xFFFFFFFFu) | (c3[v] << 32);
      uint64_t pairs[2 * kWide];
      for (int lane = 0; lane < kWide; ++lane) {
        pairs[2 * lane] = low[lane];
        pairs[2 * lane + 1] = high[lane];
      }
      std::memcpy(words + 4 * (first + v * kWide), pairs, sizeof(pairs));
    }
  }
}

void fill(const RandomKey& key, uint64_t sample, uint32_t first_block, int64_t tiles,
          uint32_t* words) {
  for (int64_t tile = 0; tile < tiles; ++tile) {
    philox_group(key, sample, first_block + static_cast<uint32_t>(tile * kTileBlocks),
                 words + tile * kTileWords);
  }
}
