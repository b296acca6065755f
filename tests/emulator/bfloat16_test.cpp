// bf16 conversions: every value of bf16, and the float values at which rounding is decided.
#include "kernels/bfloat16.h"

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/cuda/device/cuda.h"
#include "tests/emulator/support.h"

namespace diffscm::kernels::emu {
namespace {

float from_bits(uint32_t bits) {
  return std::bit_cast<float>(bits);
}

uint16_t rounded(float x) {
  return to_bf16(x).bits;
}

// The nearest bf16, ties to even, computed in double from the two neighbours: no bit tricks.
uint16_t nearest(float x) {
  const auto below = static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16);  // towards zero
  const double a = to_float(bf16{below});
  const auto above = static_cast<uint16_t>(below + 1);
  // Past the largest finite value the next "bf16" is infinity, which rounds as if it were 2^128.
  const bool overflows = (above & 0x7fff) == 0x7f80;
  const double b = overflows ? std::copysign(std::ldexp(1.0, 128), x) : to_float(bf16{above});
  const double to_a = std::abs(x - a), to_b = std::abs(b - x);
  if (to_a != to_b) return to_a < to_b ? below : above;
  return below % 2 == 0 ? below : above;
}

TEST(Bfloat16, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 1u << 16; ++bits) {
    const bf16 x{static_cast<uint16_t>(bits)};
    const float f = to_float(x);
    ASSERT_EQ(std::bit_cast<uint32_t>(f), bits << 16);
    if (std::isnan(f)) {
      ASSERT_EQ(rounded(f), 0x7fff) << bits;  // the one NaN that cvt.rn.bf16.f32 gives
    } else {
      ASSERT_EQ(rounded(f), bits);
    }
  }
}

TEST(Bfloat16, RoundsToNearestTiesToEven) {
  for (uint32_t bits = 0; bits < 1u << 16; ++bits) {
    if ((bits & 0x7fff) >= 0x7f80) continue;  // infinities and NaNs
    for (const uint32_t low : {0x0000u, 0x0001u, 0x4000u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const float x = from_bits(bits << 16 | low);
      ASSERT_EQ(rounded(x), nearest(x)) << std::hex << (bits << 16 | low);
    }
  }
}

TEST(Bfloat16, Edges) {
  EXPECT_EQ(rounded(0.0f), 0x0000);
  EXPECT_EQ(rounded(-0.0f), 0x8000);
  EXPECT_EQ(rounded(1.0f), 0x3f80);
  EXPECT_EQ(rounded(from_bits(0x3f808000)), 0x3f80) << "a tie goes to the even one, below";
  EXPECT_EQ(rounded(from_bits(0x3f818000)), 0x3f82) << "a tie goes to the even one, above";
  EXPECT_EQ(rounded(from_bits(0x7f7f7fff)), 0x7f7f) << "the largest that stays finite";
  EXPECT_EQ(rounded(from_bits(0x7f7f8000)), 0x7f80) << "the tie below infinity goes up";
  EXPECT_EQ(rounded(INFINITY), 0x7f80);
  EXPECT_EQ(rounded(-INFINITY), 0xff80);
  EXPECT_EQ(rounded(NAN), 0x7fff);
  EXPECT_EQ(rounded(from_bits(0xff800001)), 0x7fff) << "a NaN whose upper half looks infinite";
  EXPECT_EQ(rounded(from_bits(0x00000001)), 0x0000) << "the smallest subnormal";
  EXPECT_EQ(rounded(from_bits(0x00018000)), 0x0002) << "subnormals round like the others";
}

TEST(Bfloat16, PairsPutTheFirstValueBelow) {
  EXPECT_EQ(pack_bf16(1.0f, -2.0f), 0xc0003f80u);
}

}  // namespace
}  // namespace diffscm::kernels::emu
