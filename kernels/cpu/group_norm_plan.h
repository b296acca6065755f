// What the forward and the backward group norm share: how a sample is cut, where the two halves of
// the concatenated input lie, and the dropout draws.
//
// In NHWC a group's values are scattered (C/G channels out of C at every pixel), so nothing here
// ever walks a group. Every loop walks whole pixels with the vector over channels, per-channel sums
// are kept, and only those few numbers are combined into groups. Groups of one channel, odd channel
// counts and groups that straddle the seam of the concatenation thus need no special case.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/cpu/clones.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/philox_tile.h"
#include "kernels/error.h"
#include "kernels/group_norm.h"

namespace diffscm::kernels::cpu {

// A chunk of rows (pixels) fits the first-level cache with its output and its dropout draws. Chunks
// depend on the shape alone, so results do not depend on the number of threads.
inline constexpr int64_t kChunkElements = 4096;

struct GroupNormPlan {
  int64_t hw, c0, c1, c, groups, group_channels;
  int64_t chunk_rows, chunks;

  explicit GroupNormPlan(const GroupNormArgs& a)
      : hw(a.hw),
        c0(a.c0),
        c1(a.c1),
        c(a.c0 + a.c1),
        groups(a.groups),
        group_channels(c / a.groups),
        chunk_rows(std::clamp<int64_t>(kChunkElements / c, 1, a.hw)),
        chunks((a.hw + chunk_rows - 1) / chunk_rows) {}

  int64_t first_row(int64_t chunk) const { return chunk * chunk_rows; }
  int64_t rows(int64_t chunk) const { return std::min(chunk_rows, hw - first_row(chunk)); }
};

// Half `which` of the concatenated channels: x0 holds channels [0, C0), x1 the rest.
struct Half {
  int64_t channels, offset;
};
inline Half half_of(const GroupNormPlan& plan, int which) {
  return which == 0 ? Half{plan.c0, 0} : Half{plan.c1, plan.c0};
}

// Dropout as the loops want it: keep when draw >= threshold, then multiply by scale.
struct DropoutScale {
  uint32_t threshold;
  float scale;
};
inline DropoutScale dropout_scale(const Dropout& dropout) {
  return {static_cast<uint32_t>(std::ceil(static_cast<double>(dropout.rate) * 65536.0)),
          static_cast<float>(1.0 / (1.0 - static_cast<double>(dropout.rate)))};
}

// A dropout whose key's step is read from memory where it lies there: once per call.
inline Dropout resolved(Dropout dropout) {
  dropout.key = kernels::resolved(dropout.key);
  return dropout;
}

// Draws of elements [begin, begin + count) of a sample, as a pointer to the first.
inline const uint16_t* dropout_draws(const Dropout& dropout, int64_t n, int64_t begin,
                                     int64_t count, Scratch<uint32_t>& scratch) {
  const int64_t block = begin / 8, skip = begin % 8;
  const int64_t tiles = (skip + count + kTileDraws - 1) / kTileDraws;
  uint32_t* words = scratch.get(tiles * kTileWords);
  philox_tiles(dropout.key, static_cast<uint64_t>(dropout.first_sample + n),
               static_cast<uint32_t>(block), tiles, words);
  return reinterpret_cast<const uint16_t*>(words) + skip;
}

// Samples are independent, so each thread takes whole samples and finds them in its cache for the
// second pass; with fewer samples than threads, the chunks of a sample are shared out instead.
// Both ways run the same tasks: first(n, chunk), then middle(n), then last(n, chunk).
template <class First, class Middle, class Last>
void run_two_passes(const GroupNormPlan& plan, int64_t n, int threads, const First& first,
                    const Middle& middle, const Last& last) {
  const int64_t work = n * plan.hw * plan.c * 8;
  if (n >= threads) {
    parallel_tasks(n, work, [&](int64_t sample) {
      for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) first(sample, chunk);
      middle(sample);
      for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) last(sample, chunk);
    });
    return;
  }
  const int64_t tasks = n * plan.chunks;
  parallel_tasks(tasks, work, [&](int64_t task) { first(task / plan.chunks, task % plan.chunks); });
  for (int64_t sample = 0; sample < n; ++sample) middle(sample);
  parallel_tasks(tasks, work, [&](int64_t task) { last(task / plan.chunks, task % plan.chunks); });
}

}  // namespace diffscm::kernels::cpu
