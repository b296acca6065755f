// What elementwise.cu shares with kernels that do the same on their way.
#pragma once

#include <cstdint>

#include "kernels/cuda/device/cuda.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

__device__ inline float sigmoid(float x) {
  return 1.0f / (1.0f + expf(-x));
}

// Cosine and sine of frequency k of `half` at time t, at their places of the embedding `emb`
// (TimestepEmbeddingArgs). Angles reach 999 radians, where f32 has lost five digits: all is in
// double, and there are only a few thousand of them.
__device__ inline void embed_time(float t, int64_t k, int64_t half, bool last_frequency,
                                  float* emb) {
  constexpr double kLogPeriod = 9.210340371976184;  // ln 10000
  const int64_t steps = last_frequency ? half - 1 : half;
  const double angle = static_cast<double>(t) *
                       exp(-kLogPeriod * static_cast<double>(k) / static_cast<double>(steps));
  emb[last_frequency ? 2 * k : k] = static_cast<float>(cos(angle));
  emb[last_frequency ? 2 * k + 1 : half + k] = static_cast<float>(sin(angle));
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
