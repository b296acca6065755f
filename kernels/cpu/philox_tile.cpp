// Philox for many consecutive blocks, compiled for each instruction set (philox_leaf.h holds the
// loop). The 32 x 32 -> 64 bit product that it lives on is one instruction, but gcc does not find
// it in plain C++ without shuffling lanes back and forth: hence the intrinsics, and the three
// namespaces in place of Clones.
#include "kernels/cpu/philox_tile.h"

#include <cstring>

#include "kernels/cpu/isa.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace diffscm::kernels::cpu {
namespace {

namespace v1 {
constexpr int kWide = 2;
using Wide = uint64_t __attribute__((vector_size(16)));
#if defined(__x86_64__)
inline Wide multiply(Wide a, Wide b) {
  return (Wide)_mm_mul_epu32((__m128i)a, (__m128i)b);
}
#else
inline Wide multiply(Wide a, Wide b) {
  return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
}
#endif
#include "kernels/cpu/philox_leaf.h"
}  // namespace v1

#if defined(__x86_64__) && !defined(__clang__)  // which has no such pragma
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
namespace v3 {
constexpr int kWide = 4;
using Wide = uint64_t __attribute__((vector_size(32)));
inline Wide multiply(Wide a, Wide b) {
  return (Wide)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}
#include "kernels/cpu/philox_leaf.h"
}  // namespace v3
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
namespace v4 {
constexpr int kWide = 8;
using Wide = uint64_t __attribute__((vector_size(64)));
inline Wide multiply(Wide a, Wide b) {
  // The unmasked form makes gcc 12 warn about its own header.
  return (Wide)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, (__m512i)b);
}
#include "kernels/cpu/philox_leaf.h"
}  // namespace v4
#pragma GCC pop_options
#endif

auto* choose() {
#if defined(__x86_64__) && !defined(__clang__)
  if (chosen_isa() == Isa::kV4) return &v4::fill;
  if (chosen_isa() == Isa::kV3) return &v3::fill;
#endif
  return &v1::fill;
}

}  // namespace

void philox_tiles(const RandomKey& key, uint64_t sample, uint32_t first_block, int64_t tiles,
                  uint32_t* words) {
  static const auto fill = choose();
  fill(key, sample, first_block, tiles, words);
}

}  // namespace diffscm::kernels::cpu
