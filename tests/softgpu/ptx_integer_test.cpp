// Integer instructions against results known from the PTX manual.
#include "tests/softgpu/ptx_support.h"

namespace diffscm::softgpu::test {
namespace {

using Words = std::vector<uint32_t>;
constexpr uint32_t kMin = 0x80000000, kOnes = 0xffffffff;

TEST(PtxInteger, SumsAndProductsWrap) {
  EXPECT_EQ(on_words("add.s32 %r9, %r0, %r1;", {{0x7fffffff, 1}, {kOnes, 2}}), (Words{kMin, 1}));
  EXPECT_EQ(on_words("sub.s32 %r9, %r0, %r1;", {{kMin, 1}, {0, 1}}), (Words{0x7fffffff, kOnes}));
  EXPECT_EQ(on_words("mul.lo.s32 %r9, %r0, %r1;", {{0x10001, 0x10001}, {kOnes, kOnes}}),
            (Words{0x20001, 1}));
  EXPECT_EQ(on_words("mad.lo.s32 %r9, %r0, %r1, %r2;", {{kOnes, 3, 5}}), (Words{2}));
  EXPECT_EQ(on_words("neg.s32 %r9, %r0;", {{kMin}, {1}}), (Words{kMin, kOnes}));
}

TEST(PtxInteger, HighHalvesObeyTheSign) {
  EXPECT_EQ(on_words("mul.hi.u32 %r9, %r0, %r1;", {{kOnes, kOnes}}), (Words{0xfffffffe}));
  EXPECT_EQ(on_words("mul.hi.s32 %r9, %r0, %r1;", {{kOnes, kOnes}, {kMin, 2}}), (Words{0, kOnes}));
  // (2^63 - 1)^2 >> 64 = 2^62 - 1
  EXPECT_EQ(on_words("mov.u64 %d0, 0x7fffffffffffffff; mul.hi.s64 %d1, %d0, %d0;"
                     "shr.u64 %d1, %d1, 32; cvt.u32.u64 %r9, %d1;",
                     {{}}),
            (Words{0x3fffffff}));
}

TEST(PtxInteger, WideProducts) {
  const std::string high = " shr.u64 %d1, %d1, 32; cvt.u32.u64 %r9, %d1;";
  EXPECT_EQ(on_words("mul.wide.u32 %d1, %r0, %r1;" + high, {{kOnes, kOnes}}), (Words{0xfffffffe}));
  EXPECT_EQ(on_words("mul.wide.s32 %d1, %r0, %r1;" + high, {{kOnes, 1}}), (Words{kOnes}));
  EXPECT_EQ(on_words("cvt.u16.u32 %h0, %r0; cvt.u16.u32 %h1, %r1; mul.wide.s16 %r9, %h0, %h1;",
                     {{0xffff, 0x7fff}}),
            (Words{0xffff8001}));
  EXPECT_EQ(on_words("cvt.s64.s32 %d2, %r2; mad.wide.s32 %d1, %r0, %r1, %d2;" + high,
                     {{kMin, kMin, kOnes}}),
            (Words{0x3fffffff}));
}

TEST(PtxInteger, DivisionAndRemainder) {
  EXPECT_EQ(on_words("div.s32 %r9, %r0, %r1;",
                     {{uint32_t(-7), 2}, {7, uint32_t(-2)}, {kMin, kOnes}, {5, 0}}),
            (Words{uint32_t(-3), uint32_t(-3), kMin, kOnes}));
  EXPECT_EQ(
      on_words("rem.s32 %r9, %r0, %r1;", {{uint32_t(-7), 2}, {7, uint32_t(-2)}, {kMin, kOnes}}),
      (Words{kOnes, 1, 0}));
  EXPECT_EQ(on_words("div.u32 %r9, %r0, %r1;", {{kOnes, 2}, {5, 0}}), (Words{0x7fffffff, kOnes}));
}

TEST(PtxInteger, ShiftsBeyondTheWidth) {
  EXPECT_EQ(on_words("shl.b32 %r9, %r0, %r1;", {{1, 31}, {1, 32}, {1, 33}, {1, 256}}),
            (Words{kMin, 0, 0, 0}));
  EXPECT_EQ(on_words("shr.u32 %r9, %r0, %r1;", {{kMin, 31}, {kMin, 32}, {kMin, 64}}),
            (Words{1, 0, 0}));
  EXPECT_EQ(on_words("shr.s32 %r9, %r0, %r1;", {{kMin, 31}, {kMin, 32}, {0x7fffffff, 99}}),
            (Words{kOnes, kOnes, 0}));
  EXPECT_EQ(on_words("cvt.u64.u32 %d0, %r0; shl.b64 %d0, %d0, %r1; shr.u64 %d0, %d0, 32; "
                     "cvt.u32.u64 %r9, %d0;",
                     {{1, 63}, {1, 64}}),
            (Words{kMin, 0}));
  EXPECT_EQ(on_words("cvt.u16.u32 %h0, %r0; shr.s16 %h0, %h0, %r1; cvt.u32.u16 %r9, %h0;",
                     {{0x8000, 3}, {0x8000, 20}}),
            (Words{0xf000, 0xffff}));
}

TEST(PtxInteger, BitsAndExtremes) {
  EXPECT_EQ(on_words("clz.b32 %r9, %r0;", {{0}, {1}, {kMin}}), (Words{32, 31, 0}));
  EXPECT_EQ(on_words("bfi.b32 %r9, %r0, %r1, %r2, 3;", {{5, 0xffff, 4}, {15, 0, 30}, {1, 9, 32}}),
            (Words{0xffdf, 0xc0000000, 9}));
  EXPECT_EQ(on_words("bfi.b32 %r9, %r0, 7, 8, %r1;", {{1, 0}, {3, 24}, {3, 99}}),
            (Words{7, 0x307, 0x307}));
  EXPECT_EQ(on_words("popc.b32 %r9, %r0;", {{0xf0f0}}), (Words{8}));
  EXPECT_EQ(on_words("min.s32 %r9, %r0, %r1;", {{kOnes, 1}}), (Words{kOnes}));
  EXPECT_EQ(on_words("min.u32 %r9, %r0, %r1;", {{kOnes, 1}}), (Words{1}));
  EXPECT_EQ(on_words("max.s32 %r9, %r0, %r1;", {{kOnes, 1}}), (Words{1}));
  EXPECT_EQ(on_words("not.b32 %r9, %r0;", {{0xff}}), (Words{0xffffff00}));
}

// 128-bit arithmetic in pieces, as the slow path of cos does it.
TEST(PtxInteger, CarriesGoFromLaneToTheSameLane) {
  const std::string sum =
      "add.cc.u32 %r5, %r0, %r1; addc.cc.u32 %r6, %r2, 0xffffffff; addc.u32 %r9, 0, 0;";
  EXPECT_EQ(on_words(sum, {{kOnes, 1, 0}, {1, 1, 0}, {1, 1, 1}}), (Words{1, 0, 1}));
  const std::string difference =
      "sub.cc.u32 %r5, %r0, %r1; subc.cc.u32 %r6, %r2, 0; subc.u32 %r9, 0, 0;";
  EXPECT_EQ(on_words(difference, {{0, 1, 0}, {0, 1, 1}, {1, 1, 0}}), (Words{kOnes, 0, 0}));
  EXPECT_EQ(on_words("mad.lo.cc.u32 %r5, %r0, %r1, %r2; madc.hi.u32 %r9, %r0, %r1, 0;",
                     {{kOnes, kOnes, kOnes}, {kOnes, kOnes, 0}}),
            (Words{0xffffffff, 0xfffffffe}));
}

TEST(PtxInteger, SixteenBitsAreCutOff) {
  EXPECT_EQ(
      on_words("cvt.u16.u32 %h0, %r0; add.s16 %h1, %h0, 1; cvt.u32.u16 %r9, %h1;", {{0x1ffff}}),
      (Words{0}));
  EXPECT_EQ(on_words("cvt.u16.u32 %h0, %r0; cvt.s32.s16 %r9, %h0;", {{0x18000}}),
            (Words{0xffff8000}));
  EXPECT_EQ(
      on_words(
          "cvt.u64.u32 %d0, %r0; cvt.s64.s32 %d1, %d0; shr.u64 %d1, %d1, 32; cvt.u32.u64 %r9, %d1;",
          {{kMin}}),
      (Words{kOnes}));
}

TEST(PtxInteger, ComparisonsObeyTheSign) {
  const auto select = [](const std::string& compare) {
    return "setp." + compare + " %p0, %r0, %r1; selp.b32 %r9, 1, 0, %p0;";
  };
  EXPECT_EQ(on_words(select("lt.s32"), {{kOnes, 0}, {0, kOnes}}), (Words{1, 0}));
  EXPECT_EQ(on_words(select("lt.u32"), {{kOnes, 0}, {0, kOnes}}), (Words{0, 1}));
  EXPECT_EQ(on_words(select("ne.s32"), {{3, 3}, {3, 4}}), (Words{0, 1}));
  EXPECT_EQ(on_words("setp.lt.s32 %p0, %r0, 5; setp.gt.s32 %p1, %r0, 2; and.pred %p2, %p0, %p1;"
                     "not.pred %p3, %p2; xor.pred %p4, %p3, %p1; mov.pred %p5, 1;"
                     "and.pred %p4, %p4, %p5; selp.b32 %r9, 7, 9, %p4;",
                     {{1}, {3}, {6}}),
            (Words{7, 7, 9}));
}

TEST(PtxInteger, PartsOfRegisters) {
  EXPECT_EQ(on_words("mov.b32 {%h0, %h1}, %r0; mov.b32 %r9, {%h1, %h0};", {{0x12345678}}),
            (Words{0x56781234}));
  EXPECT_EQ(on_words("mov.b64 %d0, {%r0, %r1}; mov.b64 {_, %r9}, %d0;", {{1, 2}}), (Words{2}));
}

}  // namespace
}  // namespace diffscm::softgpu::test
