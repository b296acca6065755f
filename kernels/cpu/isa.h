// Instruction sets: one binary runs anywhere, and uses AVX-512 where there is some.
//
// The leaves (inner loops) are written once and compiled once per instruction set: plain loops by
// Clones (clones.h), those that depend on the vector width in a namespace and under a `#pragma GCC
// target` of their own (conv2d_leaves.h, philox_tile.cpp). At run time all of them follow
// chosen_isa(). Parallel regions stay outside the leaves.
#pragma once

#include <cstdint>
#include <string_view>

namespace diffscm::kernels::cpu {

// Named after the x86-64 micro-architecture levels; elsewhere only v1 exists (16-byte vectors).
enum class Isa {
  kV1,  // baseline: SSE2, 16 registers of 4 floats
  kV3,  // AVX2 and FMA, 16 registers of 8 floats
  kV4,  // AVX-512, 32 registers of 16 floats
};
inline constexpr int kIsaCount = 3;

// Packed weights and scratch rows are padded to whole vectors of the widest set, so that one packed
// buffer means the same to every instruction set.
inline constexpr int64_t kLanesMax = 16;
constexpr int64_t round_up(int64_t x, int64_t to) {
  return (x + to - 1) / to * to;
}
constexpr int64_t padded(int64_t channels) {
  return round_up(channels, kLanesMax);
}

inline bool isa_supported(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::kV1:
      return true;
    case Isa::kV3:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::kV4:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
  }
  return false;
#else
  return isa == Isa::kV1;
#endif
}

inline Isa best_isa() {
  return isa_supported(Isa::kV4) ? Isa::kV4 : isa_supported(Isa::kV3) ? Isa::kV3 : Isa::kV1;
}

// The value of DIFFSCM_ISA: v1, v3 or v4; empty: the best one. Throws Error for another, and for
// one that this processor lacks.
Isa parse_isa(std::string_view name);
// What the environment asks for, read once. (The target's table asks first, so that a wrong value
// is an error there and not within a kernel.)
Isa chosen_isa();

}  // namespace diffscm::kernels::cpu
