// Operations that the lanes of a warp carry out together: shuffles, votes, matrices.
//
// Each lane parks pointers to its operands, on its own stack; the last lane to arrive does the work
// for all of them and makes the others ready. So any mask works, halves of a warp that diverged do
// not disturb each other, and nothing is ever read before it is there.
#pragma once

#include <array>
#include <cstddef>

#include "kernels/emulator/site.h"

namespace diffscm::kernels::emulator {

struct WarpOperation {
  enum class Kind {
    sync,
    shuffle,
    shuffle_up,
    shuffle_down,
    shuffle_xor,
    ballot,
    ldmatrix,
    stmatrix,
    mma
  };

  Kind kind;
  // shuffle: the value; ballot: an int; ldmatrix: the row; stmatrix: the registers; mma: a
  const void* in = nullptr;
  const void* in2 = nullptr;  // mma: b
  void* out = nullptr;        // where the result goes; mma: d; stmatrix: the row
  int argument = 0;           // shuffle: lane, distance or lane mask; ldmatrix: matrices
  int width = 32;             // shuffle: lanes per group; ldmatrix: 1 for transposed
  size_t bytes = 0;           // shuffle: of the value
  Site site{};
};

const char* name(WarpOperation::Kind kind);

// Carries the calling lane's part out. `mask` names the lanes that take part.
void warp_operation(WarpOperation& operation, unsigned mask);

// The work itself, for lanes whose operands are all there.
using Operands = std::array<WarpOperation*, 32>;
void shuffle(const Operands& lanes, unsigned mask);
void ballot(const Operands& lanes, unsigned mask);
void ldmatrix(const Operands& lanes);
void stmatrix(const Operands& lanes);
void mma_m16n8k16(const Operands& lanes);

struct Warp {
  // Lanes that wait for the rest of their mask. Masks of gatherings under way are all different.
  struct Gathering {
    unsigned mask = 0, arrived = 0;
  };
  std::array<Gathering, 32> gathering;
  int gatherings = 0;
  unsigned existing = 0, exited = 0;
  Operands operation{};
};

}  // namespace diffscm::kernels::emulator
