// What lanes do together: divergence, shuffles, barriers, matrices, asynchronous copies.
#include <algorithm>
#include <numeric>

#include "tests/softgpu/ptx_support.h"

namespace diffscm::softgpu::test {
namespace {

using Words = std::vector<uint32_t>;

Words counting(size_t n) {
  Words words(n);
  std::iota(words.begin(), words.end(), 0u);
  return words;
}

// Lane l runs the loop l times: lanes leave one by one and meet behind it.
constexpr char kLoop[] = R"(
  mov.u32 %r0, 0; mov.u32 %r1, 0;
  setp.eq.s32 %p0, %r62, 0;
  @%p0 bra done;
again:
  add.s32 %r0, %r0, %r62;
  add.s32 %r1, %r1, 1;
  setp.lt.s32 %p1, %r1, %r62;
  @%p1 bra again;
done:
  st.global.u32 [%d63], %r0;)";

TEST(PtxWarp, LoopsDivergeAndMeetAgain) {
  KernelCounters counters;
  const Words out = run_ptx(kLoop, {}, {.counters = &counters});
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(out[l], l * l);
  // The store behind the loop is one instruction of all 32 lanes: they have met.
  const auto& store = counters.instructions[counters.instructions.size() - 2];
  EXPECT_EQ(store.executed, 1u);
  EXPECT_EQ(store.lanes, 32u);
}

TEST(PtxWarp, NestedBranches) {
  KernelCounters counters;
  const Words out = run_ptx(R"(
    and.b32 %r0, %r62, 1; setp.eq.s32 %p0, %r0, 0;
    and.b32 %r1, %r62, 2; setp.eq.s32 %p1, %r1, 0;
    @%p0 bra even;
    @%p1 bra odd_low;
    mov.u32 %r9, 3;
    bra.uni odd;
  odd_low:
    mov.u32 %r9, 1;
  odd:
    add.s32 %r9, %r9, 10;
    bra.uni end;
  even:
    mov.u32 %r9, 0;
    @!%p1 add.s32 %r9, %r9, 2;
  end:
    st.global.u32 [%d63], %r9;)",
                            {}, {.counters = &counters});
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(out[l], l % 4 + (l % 2 ? 10 : 0));
  const auto& store = counters.instructions[counters.instructions.size() - 2];
  EXPECT_EQ(store.executed, 1u);
}

TEST(PtxWarp, LanesThatExitAreNotWaitedFor) {
  const Words out = run_ptx(R"(
    mov.u32 %r9, 1;
    st.global.u32 [%d63], %r9;
    setp.lt.s32 %p0, %r62, 20;
    @%p0 ret;
    bar.sync 0;
    mov.u32 %r9, 2;
    st.global.u32 [%d63], %r9;)",
                            {}, {.shape = {.block = {64}}});
  for (uint32_t l = 0; l < 64; ++l) EXPECT_EQ(out[l], l < 20 ? 1u : 2u);
}

TEST(PtxWarp, FunctionsAreCalledByDivergedLanes) {
  const std::string function = R"(
.func (.param .b32 result) factorial_or_zero(.param .b32 n) {
  .reg .b32 %r<4>; .reg .pred %p<3>; .local .align 8 .b8 depot[8]; .reg .b64 %d<3>;
  ld.param.b32 %r0, [n];
  mov.u64 %d0, depot;
  st.local.u32 [%d0+4], %r0;
  mov.u32 %r1, 1;
  setp.gt.u32 %p0, %r0, 5;
  @%p0 bra none;
  setp.lt.u32 %p2, %r0, 2;
  @%p2 bra out;
again:
  mul.lo.s32 %r1, %r1, %r0;
  sub.s32 %r0, %r0, 1;
  setp.gt.u32 %p1, %r0, 1;
  @%p1 bra again;
out:
  ld.local.u32 %r2, [%d0+4];
  mad.lo.s32 %r1, %r2, 1000, %r1;
  st.param.b32 [result], %r1;
  ret;
none:
  st.param.b32 [result], 0;
  ret;
})";
  const Words out = run_ptx(R"(
    mov.u32 %r9, 77;
    and.b32 %r0, %r62, 1; setp.eq.s32 %p0, %r0, 1;
    @%p0 bra skip;
    { .param .b32 a; .param .b32 b;
      st.param.b32 [a], %r62;
      call.uni (b), factorial_or_zero, (a);
      ld.param.b32 %r9, [b]; }
  skip:
    st.global.u32 [%d63], %r9;)",
                            {}, {.more = function});
  EXPECT_EQ(out[0], 1u);
  EXPECT_EQ(out[2], 2002u);
  EXPECT_EQ(out[4], 4024u);
  EXPECT_EQ(out[6], 0u);
  EXPECT_EQ(out[5], 77u);
}

TEST(PtxWarp, LocalArraysBelongToOneThread) {
  const Words out = run_ptx(R"(
    { .local .align 16 .b8 depot[32];
      mov.u64 %d0, depot;
      cvta.local.u64 %d1, %d0;
      add.s32 %r0, %r62, 1000;
      st.local.v4.u32 [depot], {%r62, %r0, %r62, %r62};
      st.local.u32 [%d0+20], %r0;
      ld.u32 %r2, [%d1+4];
      ld.local.v2.u32 {%r3, %r4}, [%d0+16]; }
    add.s32 %r9, %r2, %r4;
    st.global.u32 [%d63], %r9;)",
                            {}, {.shape = {.block = {64}}});
  for (uint32_t l = 0; l < 64; ++l) EXPECT_EQ(out[l], 2 * l + 2000);
}

std::pair<uint32_t, bool> shuffled(const std::string& mode, int b, int c, int lane) {
  const Words out =
      run_ptx(fmt::format("ld.global.u32 %r0, [%d62]; shfl.sync.{}.b32 %r1|%p0, %r0, {}, {}, -1;"
                          "selp.u32 %r2, 1, 0, %p0; st.global.v2.u32 [%d63], {{%r1, %r2}};",
                          mode, b, c),
              counting(32), {.out_bytes = 8});
  return {out[2 * lane], out[2 * lane + 1] != 0};
}

TEST(PtxWarp, ShufflesStayInTheirSegments) {
  using Result = std::pair<uint32_t, bool>;
  EXPECT_EQ(shuffled("bfly", 16, 31, 3), Result(19, true));
  EXPECT_EQ(shuffled("up", 1, 0, 0), Result(0, false));
  EXPECT_EQ(shuffled("up", 1, 0, 5), Result(4, true));
  EXPECT_EQ(shuffled("down", 4, 31, 30), Result(30, false));
  EXPECT_EQ(shuffled("idx", 7, 31, 30), Result(7, true));
  // Segments of eight lanes: c = (32 - 8) << 8 | 7 or 0.
  EXPECT_EQ(shuffled("up", 1, 24 << 8, 8), Result(8, false));
  EXPECT_EQ(shuffled("down", 1, 24 << 8 | 7, 15), Result(15, false));
  EXPECT_EQ(shuffled("idx", 3, 24 << 8 | 7, 20), Result(19, true));
  EXPECT_EQ(shuffled("bfly", 8, 24 << 8 | 7, 0), Result(0, false));
}

// Halves of a warp that came different ways wait for each other at a shuffle of both.
TEST(PtxWarp, ShuffleGathersDivergedLanes) {
  const Words out = run_ptx(R"(
    setp.lt.s32 %p0, %r62, 16;
    @%p0 bra low;
    mov.u32 %r0, 100;
    bra.uni both;
  low:
    mov.u32 %r0, 200;
  both:
    shfl.sync.bfly.b32 %r9, %r0, 16, 31, -1;
    st.global.u32 [%d63], %r9;)",
                            {});
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(out[l], l < 16 ? 100u : 200u);
  const Words halves = run_ptx(R"(
    setp.lt.s32 %p0, %r62, 16;
    mov.u32 %r0, %r62;
    @%p0 bra low;
    shfl.sync.bfly.b32 %r9, %r0, 1, 31, 0xffff0000;
    bra.uni end;
  low:
    shfl.sync.bfly.b32 %r9, %r0, 2, 31, 0x0000ffff;
  end:
    st.global.u32 [%d63], %r9;)",
                               {});
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(halves[l], l < 16 ? l ^ 2 : l ^ 1);
}

TEST(PtxWarp, WhatLanesMayNotDo) {
  expect_error("shfl.sync.bfly.b32 %r9, %r62, 1, 31, 0xffff;", "not in its own mask");
  expect_error("setp.eq.s32 %p0, %r62, 0; @%p0 bra skip; bar.warp.sync -1; skip: bar.sync 0;",
               "deadlock");
  expect_error(
      "setp.lt.u32 %p0, %r62, 32; @%p0 bra skip; bar.sync 0; bra.uni end; skip: bar.warp.sync 1; "
      "end:",
      "not in its own mask", {.shape = {.block = {64}}});
  expect_error(R"(setp.eq.s32 %p0, %r62, 3; @%p0 bra skip;
    mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0,%f1,%f2,%f3}, {%r0,%r1,%r2,%r3},
    {%r4,%r5}, {%f0,%f1,%f2,%f3}; skip:)",
               "needs the whole warp");
}

TEST(PtxWarp, BarriersOrderAWholeBlock) {
  const Words out = run_ptx(
      R"(
    mul.lo.s32 %r0, %r62, 4; mov.u32 %r1, dynamic; add.s32 %r1, %r1, %r0;
    st.shared.u32 [%r1], %r62;
    bar.sync 0;
    xor.b32 %r2, %r0, 508;
    ld.shared.u32 %r9, [%r2];
    st.global.u32 [%d63], %r9;)",
      {}, {.shape = {.block = {128}, .dynamic_shared_bytes = 512}});
  for (uint32_t l = 0; l < 128; ++l) EXPECT_EQ(out[l], l ^ 127);
}

TEST(PtxWarp, AtomicsOfLanesAndBlocks) {
  const Words in(1, 5);
  const Words out = run_ptx(
      R"(
    atom.global.add.u32 %r9, [%d60], 1;
    st.global.u32 [%d63], %r9;)",
      in, {.shape = {.grid = {4}, .block = {64}}, .in_bytes = 0});
  Words sorted = out;
  std::sort(sorted.begin(), sorted.end());
  for (uint32_t l = 0; l < 256; ++l) EXPECT_EQ(sorted[l], l + 5);
  const Words shared = run_ptx(
      R"(
    setp.eq.s32 %p0, %r62, 0; mov.u32 %r0, -5;
    @%p0 st.shared.u32 [dynamic], %r0;
    bar.sync 0;
    atom.shared.max.s32 %r1, [dynamic], %r62;
    bar.sync 0;
    ld.shared.u32 %r9, [dynamic];
    st.global.u32 [%d63], %r9;)",
      {}, {.shape = {.block = {32}, .dynamic_shared_bytes = 4}});
  EXPECT_EQ(shared[7], 31u);
}

// The copy is not there before it was waited for, and only the groups that were.
TEST(PtxWarp, AsyncCopiesAreLate) {
  const Words out = run_ptx(
      R"(
    mul.lo.s32 %r0, %r62, 32; mov.u32 %r1, dynamic; add.s32 %r1, %r1, %r0;
    cp.async.cg.shared.global [%r1], [%d62], 16;
    cp.async.commit_group;
    mov.u32 %r5, 4;
    cp.async.ca.shared.global [%r1+16], [%d62], 16, %r5;
    cp.async.commit_group;
    ld.shared.u32 %r2, [%r1];
    cp.async.wait_group 1;
    ld.shared.u32 %r3, [%r1+12];
    ld.shared.u32 %r4, [%r1+16];
    cp.async.wait_group 0;
    ld.shared.v2.u32 {%r6, %r7}, [%r1+16];
    st.global.v4.u32 [%d63], {%r2, %r3, %r4, %r6};
    st.global.u32 [%d63+16], %r7;)",
      counting(128),
      {.shape = {.block = {32}, .dynamic_shared_bytes = 1024}, .in_bytes = 16, .out_bytes = 32});
  for (uint32_t l = 0; l < 32; ++l) {
    EXPECT_EQ(out[8 * l], 0xffffffffu);
    EXPECT_EQ(out[8 * l + 1], 4 * l + 3);
    EXPECT_EQ(out[8 * l + 2], 0xffffffffu);
    EXPECT_EQ(out[8 * l + 3], 4 * l);
    EXPECT_EQ(out[8 * l + 4], 0u);  // beyond the source's bytes
  }
}

uint16_t as_bf16(float x) {
  return static_cast<uint16_t>(bits(x) >> 16);
}

// Fragments are loaded by ldmatrix from plain matrices in shared memory, as kernels do: A by rows,
// B (stored by rows) transposed.
TEST(PtxWarp, MatricesMultiply) {
  std::vector<float> a(256), b(128);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(int(i * 7 % 31) - 15);
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(int(i * 5 % 17) - 8);
  Words in(192);
  for (size_t i = 0; i < 128; ++i)
    in[i] = as_bf16(a[2 * i]) | uint32_t{as_bf16(a[2 * i + 1])} << 16;
  for (size_t i = 0; i < 64; ++i)
    in[128 + i] = as_bf16(b[2 * i]) | uint32_t{as_bf16(b[2 * i + 1])} << 16;
  const Words out =
      run_ptx(R"(
    mul.lo.s32 %r0, %r62, 4; mov.u32 %r1, dynamic; add.s32 %r1, %r1, %r0;
    mul.wide.u32 %d0, %r62, 4; add.s64 %d0, %d60, %d0;
    ld.global.u32 %r2, [%d0]; st.shared.u32 [%r1], %r2;
    ld.global.u32 %r2, [%d0+128]; st.shared.u32 [%r1+128], %r2;
    ld.global.u32 %r2, [%d0+256]; st.shared.u32 [%r1+256], %r2;
    ld.global.u32 %r2, [%d0+384]; st.shared.u32 [%r1+384], %r2;
    ld.global.u32 %r2, [%d0+512]; st.shared.u32 [%r1+512], %r2;
    ld.global.u32 %r2, [%d0+640]; st.shared.u32 [%r1+640], %r2;
    bar.sync 0;
    // Row lane % 16 of A, columns 0 or 8.
    and.b32 %r3, %r62, 15; shr.u32 %r4, %r62, 4; shl.b32 %r4, %r4, 4;
    mad.lo.s32 %r5, %r3, 32, %r4; mov.u32 %r6, dynamic; add.s32 %r5, %r5, %r6;
    ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r5];
    mad.lo.s32 %r7, %r3, 16, %r6;
    ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r14, %r15}, [%r7+512];
    mov.f32 %f0, 0f3F800000; mov.f32 %f1, 0f3F800000;
    mov.f32 %f2, 0f3F800000; mov.f32 %f3, 0f3F800000;
    mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3},
      {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%f0, %f1, %f2, %f3};
    st.global.v4.f32 [%d63], {%f0, %f1, %f2, %f3};)",
              in, {.shape = {.block = {32}, .dynamic_shared_bytes = 768}, .out_bytes = 16});
  for (uint32_t l = 0; l < 32; ++l)
    for (uint32_t k = 0; k < 4; ++k) {
      const uint32_t row = l / 4 + 8 * (k / 2), column = 2 * (l % 4) + k % 2;
      float sum = 1;
      for (uint32_t i = 0; i < 16; ++i) sum += a[16 * row + i] * b[8 * i + column];
      EXPECT_EQ(number(out[4 * l + k]), sum) << row << " " << column;
    }
}

// A lane's register m holds columns 2 (l % 4) and the next of row l / 4 of matrix m; lane 8 m + r
// says where row r goes: here one after the other.
TEST(PtxWarp, MatricesAreStored) {
  const Words out = run_ptx(
      R"(
    mov.u32 %r6, dynamic; mad.lo.s32 %r5, %r62, 16, %r6;
    add.s32 %r10, %r62, 0; add.s32 %r11, %r62, 100; add.s32 %r12, %r62, 200; add.s32 %r13, %r62, 300;
    stmatrix.sync.aligned.m8n8.x4.shared.b16 [%r5], {%r10, %r11, %r12, %r13};
    bar.sync 0;
    ld.shared.v4.u32 {%r0, %r1, %r2, %r3}, [%r5];
    st.global.v4.u32 [%d63], {%r0, %r1, %r2, %r3};)",
      {}, {.shape = {.block = {32}, .dynamic_shared_bytes = 512}, .out_bytes = 16});
  for (uint32_t l = 0; l < 32; ++l)
    for (uint32_t t = 0; t < 4; ++t) EXPECT_EQ(out[4 * l + t], 100 * (l / 8) + 4 * (l % 8) + t);
}

TEST(PtxWarp, VotesAndSpecialRegisters) {
  const Words out = run_ptx(
      R"(
    setp.lt.s32 %p0, %r62, 3;
    vote.sync.ballot.b32 %r0, %p0, -1;
    mov.u32 %r1, %laneid; mov.u32 %r2, %warpid; mov.u32 %r3, %ctaid.x;
    st.global.v4.u32 [%d63], {%r0, %r1, %r2, %r3};)",
      {}, {.shape = {.grid = {2}, .block = {64}}, .out_bytes = 16});
  EXPECT_EQ(Words(out.begin(), out.begin() + 4), (Words{7, 0, 0, 0}));
  EXPECT_EQ(Words(out.end() - 4, out.end()), (Words{0, 31, 1, 1}));
}

}  // namespace
}  // namespace diffscm::softgpu::test
