// Counter-based random numbers: Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as
// easy as 1, 2, 3", SC11). A number is a pure function of its key and its counter, so the same
// image gets the same noise whatever the batch size, shard, thread count or target.
#pragma once

#include <cstdint>

namespace diffscm::kernels {

// What a stream of random numbers is for. Values are part of the reproducibility contract.
enum class Purpose : uint32_t {
  init = 1,
  noise = 2,
  timestep = 3,
  order = 4,
  dropout = 5,
  sampler = 6,
  split = 7,
  world = 8,
  condition = 9,
  exogenous = 10,  // the noise of a causal model's nodes
  abduction = 11   // draws from the posterior of that noise
};

// Stream key: (seed, purpose, step) select the Philox key and the counter's high words:
//   key     = (seed_lo, seed_hi ^ purpose * 0x9E3779B9)
//   counter = (block, sample_lo, sample_hi, step)      block = index of the group of 4 outputs
// `step_at`, in the target's memory, overrides `step` when it is not null: a recorded training step
// draws new numbers at each replay. Operators resolve it; philox() itself reads `step` only.
struct RandomKey {
  uint64_t seed = 0;
  Purpose purpose = Purpose::noise;
  uint32_t step = 0;
  const uint32_t* step_at = nullptr;
};
constexpr RandomKey resolved(RandomKey key) {
  if (key.step_at != nullptr) key.step = *key.step_at;
  return key;
}

// Philox4x32-10 of one counter: the four 32-bit words in out. Header-only so that every target and
// the host share one definition.
struct Philox {
  uint32_t word[4];
};
constexpr Philox philox(const RandomKey& key, uint64_t sample, uint32_t block) {
  uint32_t k0 = static_cast<uint32_t>(key.seed);
  uint32_t k1 =
      static_cast<uint32_t>(key.seed >> 32) ^ (static_cast<uint32_t>(key.purpose) * 0x9E3779B9u);
  uint32_t c0 = block, c1 = static_cast<uint32_t>(sample), c2 = static_cast<uint32_t>(sample >> 32);
  uint32_t c3 = key.step;
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// A 32-bit word as a float in (0, 1]: (w >> 8) + 1, times 2^-24. Never 0, so that log() is finite.
constexpr float uniform01(uint32_t word) {
  return static_cast<float>((word >> 8) + 1) * (1.0f / 16777216.0f);
}

// y[i, e] = standard normal number e of sample index[i], by Box-Muller on each Philox block of
// four:
//   (w0, w1) -> r = sqrt(-2 ln u0), y0 = r cos(2 pi u1), y1 = r sin(2 pi u1);  (w2, w3) -> y2, y3.
// The words are the same on every target. So are the bits of y (kernels/box_muller.h), except on a
// processor without fused multiply-add: there cpu's may differ by 4 units in the last place.
struct NormalArgs {
  RandomKey key;
  int64_t n, elements;   // samples, numbers per sample
  const int64_t* index;  // [N] sample indices
  float* y;              // [N, elements]
};
void check(const NormalArgs&);

// Inverted dropout: element e of sample first_sample + n is dropped when its 16-bit draw is below
// rate * 65536, otherwise multiplied by 1 / (1 - rate). Draw e is half (e & 1) of word ((e >> 1) &
// 3) of Philox block e >> 3 (low half first). rate = 0: identity. Requires 0 <= rate < 1.
struct Dropout {
  float rate = 0;
  RandomKey key{};
  int64_t first_sample = 0;
};

}  // namespace diffscm::kernels
