// Partial weight gradients: how the slices of a batch are added up.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/parallel.h"

namespace diffscm::kernels::cpu {

// Adds slices 1, 2, ... to slice 0, in this order for every element.
inline void add_slices(float* partials, int64_t slices, int64_t slice_floats) {
  if (slices == 1) return;
  constexpr int64_t kChunk = 2048;
  const int64_t chunks = (slice_floats + kChunk - 1) / kChunk;
  parallel_tasks(chunks, slices * slice_floats / 2, [&](int64_t chunk) {
    const int64_t begin = chunk * kChunk, count = std::min(kChunk, slice_floats - begin);
    float* sum = partials + begin;
    for (int64_t i = 1; i < slices; ++i) {
      const float* other = sum + i * slice_floats;
      for (int64_t j = 0; j < count; ++j) sum[j] += other[j];
    }
  });
}

// out[k][row] = in[row * pitch + k], in blocks that keep both sides in cache.
inline void transpose(const float* in, int64_t rows, int64_t columns, int64_t pitch, float* out) {
  constexpr int64_t kBlock = kLanesMax;
  parallel_tasks((rows + kBlock - 1) / kBlock, rows * columns / 2, [&](int64_t block) {
    const int64_t row0 = block * kBlock;
    for (int64_t k0 = 0; k0 < columns; k0 += kBlock)
      for (int64_t k = k0; k < std::min(columns, k0 + kBlock); ++k)
        for (int64_t row = row0; row < std::min(rows, row0 + kBlock); ++row)
          out[k * rows + row] = in[row * pitch + k];
  });
}

}  // namespace diffscm::kernels::cpu
