// Floating-point instructions: rounding, NaN, subnormal numbers, conversions.
#include "tests/softgpu/ptx_support.h"

namespace diffscm::softgpu::test {
namespace {

using Words = std::vector<uint32_t>;
const float kNan = std::nanf("");
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLeast = std::numeric_limits<float>::denorm_min();

std::vector<std::vector<uint32_t>> cases(const std::vector<std::vector<float>>& values) {
  std::vector<std::vector<uint32_t>> words;
  for (const auto& v : values) {
    words.emplace_back();
    for (const float x : v) words.back().push_back(bits(x));
  }
  return words;
}
std::vector<float> on_floats(const std::string& instruction,
                             const std::vector<std::vector<float>>& values) {
  std::vector<float> result;
  for (const uint32_t w : on_words(instruction, cases(values))) result.push_back(number(w));
  return result;
}

TEST(PtxFloat, FmaRoundsOnceAndProductAndSumTwice) {
  const float x = 1 + 0x1p-12f;
  const float exact = 0x1p-11f + 0x1p-24f;  // x^2 - 1
  EXPECT_EQ(on_floats("fma.rn.f32 %f9, %f0, %f1, %f2;", {{x, x, -1}})[0], exact);
  EXPECT_EQ(on_floats("mul.f32 %f8, %f0, %f1; add.f32 %f9, %f8, %f2;", {{x, x, -1}})[0], 0x1p-11f);
}

TEST(PtxFloat, FmaDown) {
  const float above = 1 + 0x1p-23f;
  const std::string fma = "fma.rm.f32 %f9, %f0, %f1, %f2;";
  EXPECT_EQ(
      on_floats(fma, {{1, 1, 0x1p-25f}, {1, 1, 0x1.8p-24f}, {1, 1, -0x1p-60f}, {-1, 1, -0x1p-60f}}),
      (std::vector<float>{1, 1, 1 - 0x1p-24f, -above}));
  EXPECT_EQ(on_floats(fma, {{2, 3, 4}, {0, 0, -0x1p-149f}}), (std::vector<float>{10, -0x1p-149f}));
}

TEST(PtxFloat, SubnormalNumbersAreKept) {
  EXPECT_EQ(on_floats("mul.f32 %f9, %f0, %f1;", {{kLeast, 1}, {0x1p-126f, 0.5f}}),
            (std::vector<float>{kLeast, 0x1p-127f}));
  EXPECT_EQ(on_floats("ex2.approx.f32 %f9, %f0;", {{-149}})[0], kLeast);
  EXPECT_EQ(on_floats("ex2.approx.ftz.f32 %f9, %f0;", {{-149}})[0], 0);
}

TEST(PtxFloat, ExtremesPreferNumbersToNan) {
  EXPECT_EQ(on_floats("max.f32 %f9, %f0, %f1;", {{kNan, 1}, {2, kNan}, {-0.f, 0.f}}),
            (std::vector<float>{1, 2, 0}));
  EXPECT_FALSE(std::signbit(on_floats("max.f32 %f9, %f0, %f1;", {{-0.f, 0.f}})[0]));
  EXPECT_TRUE(std::signbit(on_floats("min.f32 %f9, %f0, %f1;", {{0.f, -0.f}})[0]));
}

TEST(PtxFloat, ComparisonsWithNan) {
  const auto holds = [](const std::string& compare) {
    return on_words("setp." + compare + ".f32 %p0, %f0, %f1; selp.u32 %r9, 1, 0, %p0;",
                    cases({{1, 2}, {2, 1}, {1, 1}, {kNan, 1}}));
  };
  EXPECT_EQ(holds("lt"), (Words{1, 0, 0, 0}));
  EXPECT_EQ(holds("ltu"), (Words{1, 0, 0, 1}));
  EXPECT_EQ(holds("geu"), (Words{0, 1, 1, 1}));
  EXPECT_EQ(holds("gtu"), (Words{0, 1, 0, 1}));
  EXPECT_EQ(holds("leu"), (Words{1, 0, 1, 1}));
  EXPECT_EQ(holds("eq"), (Words{0, 0, 1, 0}));
  EXPECT_EQ(holds("ne"), (Words{1, 1, 0, 0}));
  EXPECT_EQ(holds("neu"), (Words{1, 1, 0, 1}));
  EXPECT_EQ(holds("equ"), (Words{0, 0, 1, 1}));
  EXPECT_EQ(holds("num"), (Words{1, 1, 1, 0}));
  EXPECT_EQ(holds("nan"), (Words{0, 0, 0, 1}));
}

TEST(PtxFloat, ApproximationsKeepTheirDocumentedError) {
  for (float x = -126; x < 128; x += 1.37f) {
    const double exact = std::exp2(double(x));
    EXPECT_NEAR(on_floats("ex2.approx.f32 %f9, %f0;", {{x}})[0], exact, exact * 0x1p-22) << x;
  }
  EXPECT_EQ(on_floats("ex2.approx.f32 %f9, %f0;", {{kInfinity}, {-kInfinity}, {0}, {3}}),
            (std::vector<float>{kInfinity, 0, 1, 8}));
  EXPECT_TRUE(std::isnan(on_floats("ex2.approx.f32 %f9, %f0;", {{kNan}})[0]));
  for (float x = 0x1p-20f; x < 100; x *= 1.13f)
    for (const float at : {x, -x}) {
      const double exact = std::tanh(double(at));
      EXPECT_NEAR(on_floats("tanh.approx.f32 %f9, %f0;", {{at}})[0], exact,
                  std::abs(exact) * 0x1p-11)
          << at;
    }
  EXPECT_EQ(on_floats("tanh.approx.f32 %f9, %f0;", {{kInfinity}, {-kInfinity}, {0}, {-kLeast}}),
            (std::vector<float>{1, -1, 0, -kLeast}));
  EXPECT_TRUE(std::signbit(on_floats("tanh.approx.f32 %f9, %f0;", {{-0.f}})[0]));
  EXPECT_TRUE(std::isnan(on_floats("tanh.approx.f32 %f9, %f0;", {{kNan}})[0]));
  EXPECT_EQ(on_floats("div.approx.f32 %f9, %f0, %f1;", {{6, 3}, {1, 0x1p127f}, {1, 0}}),
            (std::vector<float>{2, 0, kInfinity}));
  EXPECT_EQ(on_floats("rcp.approx.ftz.f32 %f9, %f0;", {{4}, {0x1p-127f}, {-kInfinity}}),
            (std::vector<float>{0.25f, kInfinity, -0.f}));
  EXPECT_EQ(on_floats("rsqrt.approx.f32 %f9, %f0;", {{16}})[0], 0.25f);
  EXPECT_EQ(on_words("mov.f64 %g0, 0d4008000000000000; rcp.approx.ftz.f64 %g1, %g0;"
                     "mov.b64 {%r9, %r8}, %g1;",
                     {{}})[0],
            0u);
}

TEST(PtxFloat, RoundedExactly) {
  EXPECT_EQ(on_floats("div.rn.f32 %f9, %f0, %f1;", {{1, 3}})[0], 1.f / 3);
  EXPECT_EQ(on_floats("rcp.rn.f32 %f9, %f0;", {{3}})[0], 1.f / 3);
  EXPECT_EQ(on_floats("sqrt.rn.f32 %f9, %f0;", {{2}})[0], std::sqrt(2.f));
  EXPECT_EQ(on_floats("neg.f32 %f8, %f0; abs.f32 %f9, %f8;", {{2}})[0], 2);
}

TEST(PtxFloat, ToBf16) {
  const auto rounded = [](float x) {
    return on_words("cvt.rn.bf16.f32 %h0, %f0; cvt.u32.u16 %r9, %h0;", cases({{x}}))[0];
  };
  EXPECT_EQ(rounded(1), 0x3f80u);
  EXPECT_EQ(rounded(1 + 0x1p-8f), 0x3f80u);             // half way: to even
  EXPECT_EQ(rounded(1 + 0x1p-8f + 0x1p-20f), 0x3f81u);  // more than half
  EXPECT_EQ(rounded(1 + 3 * 0x1p-8f), 0x3f82u);         // half way: to even, up
  EXPECT_EQ(rounded(std::numeric_limits<float>::max()), 0x7f80u);
  EXPECT_EQ(rounded(-kInfinity), 0xff80u);
  EXPECT_EQ(rounded(kNan), 0x7fffu);
  EXPECT_EQ(on_words("cvt.rn.bf16x2.f32 %r9, %f0, %f1;", cases({{1, 2}}))[0], 0x3f804000u);
}

TEST(PtxFloat, ToIntegersSaturates) {
  const auto convert = [](const std::string& opcode, float x) {
    return on_words(opcode + " %r9, %f0;", cases({{x}}))[0];
  };
  EXPECT_EQ(convert("cvt.rni.s32.f32", 2.5f), 2u);
  EXPECT_EQ(convert("cvt.rni.s32.f32", 3.5f), 4u);
  EXPECT_EQ(convert("cvt.rzi.s32.f32", -2.9f), uint32_t(-2));
  EXPECT_EQ(convert("cvt.rmi.s32.f32", -2.1f), uint32_t(-3));
  EXPECT_EQ(convert("cvt.rpi.s32.f32", 2.1f), 3u);
  EXPECT_EQ(convert("cvt.rzi.s32.f32", 3e9f), 0x7fffffffu);
  EXPECT_EQ(convert("cvt.rzi.s32.f32", -3e9f), 0x80000000u);
  EXPECT_EQ(convert("cvt.rzi.u32.f32", -1), 0u);
  EXPECT_EQ(convert("cvt.rzi.u32.f32", 1e10f), 0xffffffffu);
  EXPECT_EQ(convert("cvt.rzi.s32.f32", kNan), 0u);
}

TEST(PtxFloat, BetweenFloats) {
  EXPECT_EQ(on_floats("cvt.sat.f32.f32 %f9, %f0;", {{-1}, {0.5f}, {2}, {kNan}}),
            (std::vector<float>{0, 0.5f, 1, 0}));
  EXPECT_EQ(on_floats("cvt.rni.f32.f32 %f9, %f0;", {{2.5f}, {-0.4f}}),
            (std::vector<float>{2, -0.f}));
  EXPECT_EQ(
      on_floats(
          "cvt.f64.f32 %g0, %f0; add.f64 %g0, %g0, 0d3DF0000000000000; cvt.rn.f32.f64 %f9, %g0;",
          {{1}})[0],
      1);
  EXPECT_EQ(on_floats("cvt.rn.f32.s32 %f9, %r0;", {{number(16777217)}, {number(0xffffffff)}}),
            (std::vector<float>{16777216, -1}));
  EXPECT_EQ(on_floats("cvt.rn.f32.u32 %f9, %r0;", {{number(0xffffffff)}})[0], 0x1p32f);
}

}  // namespace
}  // namespace diffscm::softgpu::test
