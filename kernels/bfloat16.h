// bfloat16: the upper half of an IEEE single. Storage only: every operator computes in f32.
#pragma once

#include <bit>
#include <cstdint>

namespace diffscm::kernels {

struct bf16 {
  uint16_t bits;
};

constexpr float to_float(float x) {
  return x;
}
constexpr float to_float(bf16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

// Rounds to nearest, ties to even; a NaN stays a NaN (0x7fff, as CUDA's cvt.rn.bf16.f32 gives).
constexpr bf16 to_bf16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

}  // namespace diffscm::kernels
