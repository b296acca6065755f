// cp.async.bulk and mbarriers: when the bytes are there, what is counted, and what is refused.
#include <algorithm>
#include <numeric>

#include "tests/softgpu/ptx_support.h"

namespace diffscm::softgpu::test {
namespace {

using Words = std::vector<uint32_t>;

// Shared memory: barriers at 0 and 8, targets from 16 on. %p15: the first thread.
constexpr char kFirst[] = "setp.eq.s32 %p15, %r62, 0;";
constexpr char kInit[] = "@%p15 mbarrier.init.shared::cta.b64 [0], 1;";
constexpr char kFence[] = "@%p15 fence.mbarrier_init.release.cluster;";
constexpr char kSync[] = "bar.sync 0;";
constexpr char kRead[] =
    "shl.b32 %r10, %r62, 2; ld.shared.u32 %r9, [%r10+16]; st.global.u32 [%d63], %r9;";

std::string expect(int bytes, const char* state = "_") {
  return fmt::format("@%p15 mbarrier.arrive.expect_tx.shared::cta.b64 {}, [0], {};", state, bytes);
}
std::string copy(int bytes, const std::string& target = "16", const std::string& source = "%d60",
                 const char* barrier = "0") {
  return fmt::format(
      "@%p15 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [{}], [{}], {}, "
      "[{}];",
      target, source, bytes, barrier);
}
std::string wait(int phase, const char* barrier = "0", int number = 0) {
  return fmt::format(
      "again{2}: mbarrier.try_wait.parity.shared::cta.b64 %p0, [{1}], {0}; @!%p0 bra again{2};",
      phase, barrier, number);
}
const std::string kBegin = std::string(kFirst) + kInit + kFence + kSync;

Words counting() {
  Words words(256);
  std::iota(words.begin(), words.end(), 0u);
  return words;
}
Stage stage(KernelCounters* counters = nullptr) {
  return {.shape = {.block = {64}, .dynamic_shared_bytes = 1040}, .counters = counters};
}
Words run(const std::string& body, KernelCounters* counters = nullptr) {
  return run_ptx(body, counting(), stage(counters));
}
void expect_refused(const std::string& body, const std::string& message) {
  expect_error(body, message, stage(), counting());
}

TEST(PtxBulkCopy, BytesAreThereAfterTheWait) {
  const std::string two = expect(256) + copy(192) + copy(64, "208", "%d60+192");
  const Words out = run(kBegin + two + wait(0) + kRead);
  for (uint32_t t = 0; t < 64; ++t) EXPECT_EQ(out[t], t);
  // Not before; and not for a warp that does not wait.
  EXPECT_EQ(run(kBegin + two + kRead + wait(0))[5], 0xffffffffu);
  const Words one =
      run(kBegin + two + "setp.lt.u32 %p1, %r62, 32; @!%p1 bra read;" + wait(0) + "read:" + kRead);
  EXPECT_EQ(one[31], 31u);
  EXPECT_EQ(one[32], 0xffffffffu);
}

TEST(PtxBulkCopy, PhasesFollowEachOther) {
  const std::string first = kBegin + expect(256, "%d5") + copy(256) + wait(0) + kRead + kSync;
  const std::string second = expect(256) + copy(256, "16", "%d60+64");
  // A phase that is over may be waited for again, and that before the first one, too.
  Words out = run(kBegin + wait(1, "0", 7) + expect(256) + copy(256) + wait(0) + wait(0, "0", 8) +
                  kSync + second + wait(1, "0", 1) + kRead);
  for (uint32_t t = 0; t < 64; ++t) EXPECT_EQ(out[t], t + 16);
  // That of the first does not do for the second.
  out = run(first + second + wait(0, "0", 1) + kRead + wait(1, "0", 2));
  EXPECT_EQ(out[5], 0xffffffffu);
  expect_refused(kBegin + wait(2), "phase 2: 0 or 1 is needed");
}

// A phase has two arrivals, and the second thread's comes late.
TEST(PtxBulkCopy, SeveralThreadsMayBeAwaited) {
  const Words out =
      run("setp.eq.s32 %p15, %r62, 0; @%p15 mbarrier.init.shared::cta.b64 [0], 2;" +
          std::string(kFence) + kSync + expect(128) + copy(128) + "setp.eq.s32 %p15, %r62, 40;" +
          expect(128) + copy(128, "144", "%d60+128") + wait(0) + kRead);
  for (uint32_t t = 0; t < 64; ++t) EXPECT_EQ(out[t], t);
}

TEST(PtxBulkCopy, WhatIsCounted) {
  KernelCounters counters;
  run(kBegin + expect(272) + copy(272, "16", "%d60+16") + wait(0) + kRead, &counters);
  const auto counted = std::find_if(counters.instructions.begin(), counters.instructions.end(),
                                    [](const InstructionCounters& c) { return c.bytes == 272; });
  ASSERT_NE(counted, counters.instructions.end());
  EXPECT_EQ(counted->lanes, 1u);
  EXPECT_EQ(counted->sectors, 9u);  // from the middle of one
  EXPECT_EQ(counted->wavefronts, 3u);
  EXPECT_EQ(counters.l2_read_sectors, 9u);
  EXPECT_EQ(counters.footprint.read_sectors(), 9u);
}

TEST(PtxBulkCopy, Barriers) {
  const std::string use = expect(256) + copy(256) + wait(0);
  expect_refused(std::string(kFirst) + use, "the mbarrier at 0 is not initialised");
  expect_refused(kBegin + expect(256) + copy(256, "16", "%d60", "8") + wait(0),
                 "the mbarrier at 8 is not initialised");
  expect_refused(kBegin + kInit + use, "is initialised already");
  expect_refused(kBegin + "st.shared.u32 [4], %r62;" + use, "the mbarrier at 0 was overwritten");
  expect_refused(std::string(kFirst) + "mbarrier.init.shared::cta.b64 [0], 0;", "for 0 arrivals");
  expect_refused(std::string(kFirst) + "mbarrier.init.shared::cta.b64 [4], 1;", "not aligned to 8");
  expect_refused(std::string(kFirst) + kInit + kSync + use, "did not call fence.mbarrier_init");
  EXPECT_NO_THROW(run(std::string(kFirst) + kInit + "fence.proxy.async;" + kSync + use));
  expect_refused(kBegin + expect(256) + expect(256), "last phase were waited for");
  expect_refused(kBegin + expect(1 << 20), "counts up to 1048575");
}

TEST(PtxBulkCopy, AddressesAndSizes) {
  const auto with = [](const std::string& one) { return kBegin + expect(256) + one + wait(0); };
  EXPECT_NO_THROW(run(kBegin + expect(1024) + copy(1024) + wait(0)));
  expect_refused(with(copy(248)), "248 bytes: a multiple of 16");
  expect_refused(with(copy(0)), "0 bytes: a multiple of 16");
  expect_refused(with(copy(256, "24")), "are not both aligned to 16 bytes");
  expect_refused(with(copy(256, "16", "%d60+8")), "are not both aligned to 16 bytes");
  expect_refused(with(copy(256, "800")), "256 bytes at 800 of 1040 bytes of shared memory");
  expect_refused(with(copy(256, "16", "%d60+784")), "0 bytes past the end of allocation 1");
}

TEST(PtxBulkCopy, WhatIsExpectedComes) {
  expect_refused(kBegin + expect(240) + copy(256) + wait(0), "16 bytes more than were expected");
  expect_refused(kBegin + expect(272) + copy(256) + wait(0),
                 "deadlock: 64 threads of 2 warps wait at");
  expect_refused(kBegin + expect(272) + copy(256) + wait(0),
                 "the mbarrier at 0 lacks 0 arrivals and 16 bytes");
  expect_refused(kBegin + wait(0), "the mbarrier at 0 lacks 1 arrivals and 0 bytes");
  expect_refused(kBegin + expect(256) + copy(256), "has ended without waiting for the copy");
  expect_refused(std::string(kFirst) + kInit +
                     "@%p15 mbarrier.init.shared::cta.b64 [8], 1; bar.sync 0;"
                     "and.b32 %r1, %r62, 8;" +
                     wait(0, "%r1"),
                 "lanes wait for different phases at once");
}

// In a kernel with wgmma, it is known which writes its proxy may not see yet.
TEST(PtxBulkCopy, Proxies) {
  std::string sums;
  for (int i = 0; i < 4; ++i) sums += fmt::format("mov.f32 %f{}, 0f00000000;", i);
  const std::string product =
      sums +
      "wgmma.fence.sync.aligned; mov.b64 %d1, 0x800400001; mov.b64 %d2, 0x800100081;"
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0, %f1, %f2, %f3}, %d1, %d2, 1, 1, "
      "1, 0, 0; wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;"
      "st.global.f32 [%d63], %f0;";
  const Stage four{.shape = {.block = {128}, .dynamic_shared_bytes = 4096}};
  const std::string copied = expect(3072) + copy(3072) + wait(0);
  const Words in(1024);
  EXPECT_EQ(run_ptx(kBegin + copied + product, in, four)[0], 0u);
  const std::string write = "shl.b32 %r10, %r62, 2; st.shared.u32 [%r10+16], %r62;";
  expect_error(kBegin + write + kSync + copied + product,
               "which did not call fence.proxy.async since: that may come after", four, in);
  EXPECT_EQ(run_ptx(kBegin + write + "fence.proxy.async;" + kSync + copied + product, in, four)[0],
            0u);
}

}  // namespace
}  // namespace diffscm::softgpu::test
