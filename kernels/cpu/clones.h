// One binary, several instruction sets. A leaf (inner loop) is plain C++ that gcc vectorises; it is
// compiled once per instruction set, and a call goes to the one that chosen_isa() names:
//
//   DIFFSCM_INLINE void relu_leaf(int64_t n, const float* x, float* y) { ... }
//   constexpr Clones<relu_leaf> relu_range;
//
// Two rules. First, gcc compiles the tasks of a parallel region for the baseline: the region lives
// in a launcher (see parallel.h) that calls a leaf for each range of work. Second, a leaf and the
// helpers that it calls are DIFFSCM_INLINE: only what is inlined into a clone is vectorised for its
// instruction set. (The convolutions' leaves depend on the vector width: conv2d_leaves.h.)
#pragma once

#include "kernels/cpu/isa.h"

#define DIFFSCM_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define DIFFSCM_TARGET_V3 __attribute__((target("arch=x86-64-v3")))
#define DIFFSCM_TARGET_V4 __attribute__((target("arch=x86-64-v4")))
#else
#define DIFFSCM_TARGET_V3
#define DIFFSCM_TARGET_V4
#endif

namespace diffscm::kernels::cpu {

template <auto leaf>
struct Clones;

template <class R, class... A, R (*leaf)(A...)>
struct Clones<leaf> {
  static R v1(A... a) { return leaf(a...); }
  DIFFSCM_TARGET_V3 static R v3(A... a) { return leaf(a...); }
  DIFFSCM_TARGET_V4 static R v4(A... a) { return leaf(a...); }

  R on(Isa isa, A... a) const {
    switch (isa) {
      case Isa::kV4:
        return v4(a...);
      case Isa::kV3:
        return v3(a...);
      case Isa::kV1:
        break;
    }
    return v1(a...);
  }
  R operator()(A... a) const { return on(chosen_isa(), a...); }
};

}  // namespace diffscm::kernels::cpu
