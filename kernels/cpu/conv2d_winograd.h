// What the drivers of the Winograd rung share.
#pragma once

#include <cstdint>

#include "kernels/cpu/conv2d_leaves.h"
#include "kernels/cpu/conv2d_rungs.h"

namespace diffscm::kernels::cpu::winograd {

inline int64_t tiles_along(int64_t outputs) {
  return (outputs + kTile - 1) / kTile;
}

// Rows of V, M and Z are padded to whole vectors, and one xi starts a cache line later than a power
// of two would have it: 36 writes to one cache set would evict each other.
inline int64_t xi_pitch(int64_t tiles, int64_t channels) {
  return tiles * padded(channels) + kLanesMax;
}

// Distance between components of U for `weights` filters; the extra line is there for the same
// reason.
inline int64_t u_pitch(int64_t weights) {
  return weights + kLanesMax;
}

// A workspace of zeros for pixels outside the image; per thread.
const float* zeros(int64_t channels);

}  // namespace diffscm::kernels::cpu::winograd
