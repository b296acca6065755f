// wgmma: products by the documented layouts, and everything that is undefined on a GPU, refused.
#include <algorithm>
#include <cstring>

#include "kernels/softgpu/machine_cost.h"
#include "tests/emulator/product_elements.h"
#include "tests/softgpu/ptx_support.h"

namespace diffscm::softgpu::test {
namespace {

using Words = std::vector<uint32_t>;
using kernels::test::element_a, kernels::test::element_b;
constexpr int kA = 0, kB = 8192, kSharedBytes = 16384;

// PTX ISA, "Matrix descriptor format", with 128-byte swizzling and 1024 bytes between patterns.
constexpr uint64_t descriptor(int start, int leading = 16) {
  return uint64_t(start >> 4) | uint64_t(leading >> 4) << 16 | uint64_t{1024 >> 4} << 32 |
         uint64_t{1} << 62;
}

// Swizzle<3, 4, 3>: bits 4 to 6 of an address are XORed with bits 7 to 9.
int swizzled(int address) {
  return address ^ (address >> 3 & 0x70);
}

uint16_t as_bf16(float x) {
  return static_cast<uint16_t>(bits(x) >> 16);
}

// Shared memory with A (64 x 16, from column `first` of its rows on) at kA and B (16 x columns) at
// kB, whose rows lie along k or, in blocks of 64 that are 2048 bytes apart, along n.
Words operands(int first, int columns, bool b_along_n) {
  Words words(kSharedBytes / 4);
  const auto put = [&](int base, int address, float x) {
    const uint16_t half = as_bf16(x);
    std::memcpy(reinterpret_cast<char*>(words.data()) + base + swizzled(address), &half, 2);
  };
  for (int k = 0; k < 16; ++k) {
    for (int m = 0; m < 64; ++m) put(kA, m * 128 + 2 * (first + k), element_a(m, k));
    for (int n = 0; n < columns; ++n)
      put(kB, b_along_n ? n / 64 * 2048 + k * 128 + n % 64 * 2 : n * 128 + 2 * k, element_b(k, n));
  }
  return words;
}

// The same without swizzling: core matrices of 8 rows of 16 bytes. Nothing begins at a multiple of
// 128 bytes, or is as far apart as the other operand's or, the other way round, its own.
struct Plain {
  int start, rows_apart, k_apart;

  uint64_t descriptor() const {
    return uint64_t(start >> 4) | uint64_t(k_apart >> 4) << 16 | uint64_t(rows_apart >> 4) << 32;
  }
  int address(int row, int k) const {
    return start + row / 8 * rows_apart + k / 8 * k_apart + row % 8 * 16 + k % 8 * 2;
  }
};
constexpr Plain kPlainA{48, 144, 1184}, kPlainB{4784, 160, 1328};

Words plain_operands(int columns) {
  Words words(kSharedBytes / 4);
  const auto put = [&](int address, float x) {
    const uint16_t half = as_bf16(x);
    std::memcpy(reinterpret_cast<char*>(words.data()) + address, &half, 2);
  };
  for (int k = 0; k < 16; ++k) {
    for (int m = 0; m < 64; ++m) put(kPlainA.address(m, k), element_a(m, k));
    for (int n = 0; n < columns; ++n) put(kPlainB.address(n, k), element_b(k, n));
  }
  return words;
}

// Each thread copies every 128th word to shared memory.
std::string fill() {
  std::string text = "mul.lo.s32 %r0, %r62, 4; mul.wide.u32 %d0, %r62, 4; add.s64 %d0, %d60, %d0;";
  for (int i = 0; i < kSharedBytes / 512; ++i)
    text += fmt::format(
        "ld.global.u32 %r1, [%d0+{0}]; st.shared.u32 [%r0+{0}], %r1; // dynamic is at 0\n",
        512 * i);
  return text;
}
std::string zeros(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += fmt::format("mov.f32 %f{}, 0f00000000;", i);
  return text;
}
std::string product(uint64_t a, uint64_t b, int columns, bool b_along_n = false,
                    const char* scale_d = "1") {
  std::string sums;
  for (int i = 0; i < columns / 2; ++i) sums += fmt::format("{}%f{}", i ? ", " : "", i);
  return fmt::format(
      "mov.b64 %d1, {}; mov.b64 %d2, {}; wgmma.mma_async.sync.aligned.m64n{}k16.f32.bf16.bf16 "
      "{{{}}}, %d1, %d2, {}, 1, 1, 0, {};",
      a, b, columns, sums, scale_d, b_along_n ? 1 : 0);
}
std::string results(int count) {
  std::string text;
  for (int i = 0; i < count; i += 4)
    text += fmt::format("st.global.v4.f32 [%d63+{}], {{%f{}, %f{}, %f{}, %f{}}};", 4 * i, i, i + 1,
                        i + 2, i + 3);
  return text;
}
constexpr char kVisible[] = "fence.proxy.async.shared::cta; bar.sync 0;";
constexpr char kFence[] = "wgmma.fence.sync.aligned;";
constexpr char kCommit[] = "wgmma.commit_group.sync.aligned;";
constexpr char kWait[] = "wgmma.wait_group.sync.aligned 0;";
const uint64_t kDescriptorA = descriptor(kA), kDescriptorB = descriptor(kB);

Stage stage(uint32_t threads = 128, uint32_t out_bytes = 128) {
  return {.shape = {.block = {threads}, .dynamic_shared_bytes = kSharedBytes},
          .in_bytes = 4,
          .out_bytes = out_bytes};
}

// Of the sums of A B: register i of a thread, by the table of the PTX ISA.
void expect_product(const Words& out, int columns, float times) {
  for (int t = 0; t < 128; ++t)
    for (int i = 0; i < columns / 2; ++i) {
      const int lane = t % 32, row = t / 32 * 16 + lane / 4 + (i % 4 >= 2 ? 8 : 0);
      const int column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      ASSERT_EQ(number(out[static_cast<size_t>(t * columns / 2 + i)]),
                times * kernels::test::product(row, column, 16))
          << row << " " << column;
    }
}

TEST(PtxWarpgroup, RowsAlongK) {
  const Words out =
      run_ptx(fill() + kVisible + zeros(32) + kFence + product(kDescriptorA, kDescriptorB, 64) +
                  kCommit + kWait + results(32),
              operands(0, 64, false), stage());
  expect_product(out, 64, 1);
}

// Sixteen columns of A further in the same patterns: 32 bytes.
TEST(PtxWarpgroup, StartsWithinAPattern) {
  const Words out =
      run_ptx(fill() + kVisible + zeros(32) + kFence +
                  product(descriptor(kA + 96), kDescriptorB, 64) + kCommit + kWait + results(32),
              operands(48, 64, false), stage());
  expect_product(out, 64, 1);
}

TEST(PtxWarpgroup, RowsOfBAlongN) {
  const Words out = run_ptx(fill() + kVisible + zeros(64) + kFence +
                                product(kDescriptorA, descriptor(kB, 2048), 128, true) + kCommit +
                                kWait + results(64),
                            operands(0, 128, true), stage(128, 256));
  expect_product(out, 128, 1);
}

TEST(PtxWarpgroup, PlainOperands) {
  for (const int columns : {8, 16, 32, 64}) {
    SCOPED_TRACE(columns);
    const int sums = columns / 2;
    KernelCounters counters;
    Stage run = stage(128, uint32_t(4 * sums));
    run.counters = &counters;
    const Words out = run_ptx(fill() + kVisible + zeros(sums) + kFence +
                                  product(kPlainA.descriptor(), kPlainB.descriptor(), columns) +
                                  kCommit + kWait + results(sums),
                              plain_operands(columns), run);
    expect_product(out, columns, 1);
    // The four warps: A, and B once.
    const uint64_t bytes = 64 * 32 + uint64_t(columns) * 32;
    const auto counted =
        std::find_if(counters.instructions.begin(), counters.instructions.end(),
                     [&](const InstructionCounters& c) { return c.bytes == bytes; });
    ASSERT_NE(counted, counters.instructions.end());
    EXPECT_EQ(counted->wavefronts, bytes / 128);
    EXPECT_EQ(counted->ideal_wavefronts, bytes / 128);
  }
}

// The two operands of a product may differ in their layout.
TEST(PtxWarpgroup, PlainAndSwizzled) {
  Words words = operands(0, 64, false);
  const Words plain = plain_operands(64);
  std::copy_n(plain.begin(), kB / 4, words.begin());
  const Words out =
      run_ptx(fill() + kVisible + zeros(32) + kFence +
                  product(kPlainA.descriptor(), kDescriptorB, 64) + kCommit + kWait + results(32),
              words, stage());
  expect_product(out, 64, 1);
}

// A warp's 16 rows as mma.sync has them: each thread reads its four registers from where A would
// lie.
constexpr char kFragment[] =
    "mul.lo.s32 %r2, %r62, 16; ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r2];";
std::string product_of_registers(uint64_t b) {
  std::string sums;
  for (int i = 0; i < 32; ++i) sums += fmt::format("{}%f{}", i ? ", " : "", i);
  return fmt::format(
      "mov.b64 %d2, {}; wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {{{}}}, "
      "{{%r10, %r11, %r12, %r13}}, %d2, 1, 1, 1, 1;",
      b, sums);
}
Words operands_of_registers() {
  Words words = operands(0, 64, true);
  for (int t = 0; t < 128; ++t)
    for (int i = 0; i < 4; ++i) {
      const int m = t / 32 * 16 + t % 32 / 4 + i % 2 * 8, k = t % 4 * 2 + i / 2 * 8;
      words[static_cast<size_t>(4 * t + i)] =
          as_bf16(element_a(m, k)) | uint32_t{as_bf16(element_a(m, k + 1))} << 16;
    }
  return words;
}

TEST(PtxWarpgroup, AInRegisters) {
  KernelCounters counters;
  Stage run = stage();
  run.counters = &counters;
  const Words out = run_ptx(fill() + kVisible + kFragment + zeros(32) + kFence +
                                product_of_registers(kDescriptorB) + kCommit + kWait + results(32),
                            operands_of_registers(), run);
  expect_product(out, 64, 1);
  // Only B is read from shared memory, once for the four warps.
  const auto counted = std::find_if(
      counters.instructions.begin(), counters.instructions.end(),
      [](const InstructionCounters& c) { return c.executed == 4 && c.bytes == 64 * 16 * 2; });
  ASSERT_NE(counted, counters.instructions.end());
  EXPECT_EQ(counted->wavefronts, 16u);
}

// Products on the same sums need neither fence nor wait between them, and groups complete in order.
TEST(PtxWarpgroup, ProductsAccumulate) {
  const std::string one = product(kDescriptorA, kDescriptorB, 64);
  KernelCounters counters;
  Stage run = stage();
  run.counters = &counters;
  const Words out =
      run_ptx(fill() + kVisible + zeros(32) + kFence + one + one + kCommit + kFence + one +
                  kCommit + "wgmma.wait_group.sync.aligned 1;" + kWait + results(32),
              operands(0, 64, false), run);
  expect_product(out, 64, 3);
  // Each warp reads 16 rows of A of 32 bytes and a quarter of B.
  const auto counted = std::find_if(counters.instructions.begin(), counters.instructions.end(),
                                    [](const InstructionCounters& c) { return c.bytes == 4096; });
  ASSERT_NE(counted, counters.instructions.end());
  EXPECT_EQ(counted->executed, 4u);
  EXPECT_EQ(counted->wavefronts, 32u);
}

TEST(PtxWarpgroup, SumsAreNotThereBeforeTheWait) {
  const Words out =
      run_ptx(fill() + kVisible + zeros(32) + kFence + product(kDescriptorA, kDescriptorB, 64) +
                  kCommit + "st.global.f32 [%d63], %f0;" + kWait,
              operands(0, 64, false), stage());
  EXPECT_TRUE(std::isnan(number(out[0])));
}

void expect_refused(const std::string& body, const std::string& message,
                    const Stage& run = stage()) {
  expect_error(body, message, run, operands(0, 64, false));
}

TEST(PtxWarpgroup, Descriptors) {
  const std::string begin = fill() + kVisible + zeros(32) + kFence;
  const auto with = [&](uint64_t a) {
    return begin + product(a, kDescriptorB, 64) + kCommit + kWait;
  };
  expect_refused(with(kDescriptorA | uint64_t{1} << 14), "has bits that mean nothing");
  expect_refused(with(kDescriptorA | uint64_t{1} << 53), "has bits that mean nothing");
  expect_refused(with(kDescriptorA ^ uint64_t{3} << 62), "is of 32- or 64-byte swizzling");
  expect_refused(with(kDescriptorA | uint64_t{3} << 62), "is of 32- or 64-byte swizzling");
  expect_refused(with(kDescriptorA | uint64_t{1} << 49), "has a base offset");
  expect_refused(with(descriptor(kSharedBytes - 4096)), "of 16384 bytes of shared memory");
  const uint64_t plain = kPlainA.descriptor();
  expect_refused(with(plain | uint64_t{1} << 49), "has a base offset");
  // Its last chunk ends with shared memory, or one further.
  const int end = kSharedBytes - 7 * kPlainA.rows_apart - kPlainA.k_apart - 128;
  EXPECT_NO_THROW(
      run_ptx(with(plain + uint64_t(end - kPlainA.start) / 16), operands(0, 64, false), stage()));
  expect_refused(with(plain + uint64_t(end - kPlainA.start + 16) / 16),
                 "reads byte 16399 of 16384 bytes of shared memory");
  expect_refused(begin + product(kDescriptorA, plain, 64, true), "for B along its columns");
}

TEST(PtxWarpgroup, Fences) {
  const std::string one = product(kDescriptorA, kDescriptorB, 64) + kCommit;
  expect_refused(fill() + kVisible + zeros(32) + one + kWait, "no wgmma.fence");
  expect_refused(
      fill() + kVisible + zeros(32) + kFence + one + kWait + "add.f32 %f0, %f0, %f0;" + one + kWait,
      "no wgmma.fence");
  expect_refused(fill() + "bar.sync 0;" + zeros(32) + kFence + one + kWait,
                 "did not call fence.proxy.async");
  // The fence comes before the last write.
  expect_refused(fill() + "fence.proxy.async; st.shared.u32 [%r0], %r1; bar.sync 0;" + zeros(32) +
                     kFence + one + kWait,
                 "did not call fence.proxy.async");
  // Copies are written when they have been waited for.
  const std::string copy =
      "mul.lo.s32 %r2, %r62, 16; mul.wide.u32 %d3, %r62, 16; add.s64 %d3, %d60, "
      "%d3; cp.async.ca.shared.global [%r2], [%d3], 16; cp.async.commit_group;";
  const std::string waited = "cp.async.wait_group 0;";
  expect_refused(
      fill() + copy + kVisible + waited + "bar.sync 0;" + zeros(32) + kFence + one + kWait,
      "did not call fence.proxy.async");
  EXPECT_NO_THROW(run_ptx(fill() + copy + waited + kVisible + zeros(32) + kFence + one + kWait,
                          operands(0, 64, false), stage()));
}

TEST(PtxWarpgroup, OperandsAndSumsBelongToTheProduct) {
  const std::string begin =
      fill() + kVisible + zeros(32) + kFence + product(kDescriptorA, kDescriptorB, 64) + kCommit;
  expect_refused(begin + "mov.u32 %r1, 7; st.shared.u32 [%r0], %r1;" + kWait,
                 "overwritten too early");
  expect_refused(begin + "mov.f32 %f3, 0f3F800000;" + kWait, "was written while it was under way");
  expect_refused(begin, "has ended without waiting for its wgmma");
}

TEST(PtxWarpgroup, WhoTakesPart) {
  const std::string one = product(kDescriptorA, kDescriptorB, 64) + kCommit + kWait;
  expect_refused(zeros(32) + kFence + one, "needs four warps", stage(96));
  expect_refused(fill() + kVisible + zeros(32) + kFence +
                     "setp.eq.s32 %p0, %r62, 3; @%p0 bra skip;" + one + "skip:",
                 "needs the whole warp");
  expect_refused(
      fill() + kVisible + zeros(32) + kFence + product(kDescriptorA, kDescriptorB, 64, false, "0"),
      "scale-d 0");
  expect_refused(
      "wgmma.mma_async.sync.aligned.m64n12k16.f32.bf16.bf16 {%f0, %f1, %f2, %f3}, %d1, "
      "%d2, 1, 1, 1, 0, 0;",
      "is not known");
}

TEST(PtxWarpgroup, IsWorthManyProductsOfAWarp) {
  EXPECT_EQ(mma_instructions("wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16"), 24);
  EXPECT_EQ(mma_instructions("wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16"), 1);
  EXPECT_EQ(mma_instructions("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"), 1);
  EXPECT_EQ(mma_instructions("wgmma.fence.sync.aligned"), 0);
}

}  // namespace
}  // namespace diffscm::softgpu::test
