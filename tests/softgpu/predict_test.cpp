// The levels of memory, and the model of times: what must hold of any such model.
#include <gtest/gtest.h>

#include "kernels/softgpu/machine_cost.h"
#include "kernels/softgpu/predict.h"
#include "kernels/softgpu/profile.h"
#include "tests/softgpu/ptx_support.h"

namespace diffscm::softgpu::test {
namespace {

TEST(Traffic, AnL1FetchesASectorOnceWhileItHasRoom) {
  L1Cache cache(16 * 1024);
  EXPECT_FALSE(cache.read(8));
  EXPECT_TRUE(cache.read(8));
  EXPECT_FALSE(cache.read(9));  // the same line, another sector
  for (uint64_t sector = 0; sector < 4096; ++sector) cache.read(sector * 4);
  EXPECT_FALSE(cache.read(8));  // 512 KiB later
  cache.read(8);
  cache.clear();
  EXPECT_FALSE(cache.read(8));
}

TEST(Traffic, FootprintsCountSectorsOnce) {
  Footprint a, b;
  for (int round = 0; round < 3; ++round)
    for (uint64_t sector = 100; sector < 300; ++sector) a.touch(sector, false);
  b.touch(299, false);
  b.touch(300, false);
  b.touch(5, true);
  a.add(b);
  EXPECT_EQ(a.read_sectors(), 201u);
  EXPECT_EQ(a.written_sectors(), 1u);
}

TEST(Traffic, TheL2KeepsWhatFits) {
  const Device& device = named_device("H100");
  L2Cache l2(device);
  const auto array = [](uint64_t begin, uint64_t bytes, bool write) {
    Footprint f;
    for (uint64_t s = 0; s < bytes / kSectorBytes; ++s) f.touch(begin / kSectorBytes + s, write);
    return f;
  };
  constexpr uint64_t kMiB = 1 << 20;
  EXPECT_EQ(l2.memory_bytes(array(0, 8 * kMiB, false)), 8.0 * kMiB);
  EXPECT_EQ(l2.memory_bytes(array(0, 8 * kMiB, false)), 0);
  EXPECT_EQ(l2.memory_bytes(array(64 * kMiB, 8 * kMiB, true)), 0);  // not yet
  // 60 MiB drive out what was there; what was written has to go to memory now.
  EXPECT_EQ(l2.memory_bytes(array(128 * kMiB, 60 * kMiB, false)), 68.0 * kMiB);
  EXPECT_EQ(l2.memory_bytes(array(0, 8 * kMiB, false)), 8.0 * kMiB);
}

// Counts what one kernel asks for; `l1_bytes` as a profile would set it.
KernelCounters counted(const std::string& body, uint32_t blocks) {
  KernelCounters counters;
  run_ptx(body, std::vector<uint32_t>(size_t{blocks} * 64),
          {.shape = {.grid = {blocks}, .block = {64}, .dynamic_shared_bytes = 1024},
           .counters = &counters});
  return counters;
}

TEST(Traffic, StoresAndFirstLoadsReachTheL2) {
  const KernelCounters c = counted(
      "ld.global.u32 %r0, [%d62]; ld.global.u32 %r1, [%d62]; add.s32 %r0, %r0, %r1; st.global.u32 "
      "[%d63], %r0;",
      4);
  EXPECT_EQ(c.blocks, 4u);
  EXPECT_EQ(c.warps, 8u);
  EXPECT_EQ(c.l2_read_sectors, 4u * 64 * 4 / 32);  // the second load hits the L1
  EXPECT_EQ(c.l2_written_sectors, 4u * 64 * 4 / 32);
  EXPECT_EQ(c.footprint.read_sectors(), 32u);
}

// Copies by way of the L1 find there what it has; the others pass it by.
TEST(Traffic, OnlyCachedCopiesHitTheL1) {
  const auto sectors = [](const std::string& how, const std::string& bytes) {
    const std::string copy = "cp.async." + how + ".shared.global [%r0], [%d0], " + bytes + ";";
    return counted(
               "mul.lo.s32 %r0, %r62, 16; mul.wide.u32 %d0, %r62, 4; and.b64 %d0, %d0, -16; "
               "add.s64 %d0, %d0, %d60;" +
                   copy + copy + "cp.async.wait_all;",
               1)
        .l2_read_sectors;
  };
  EXPECT_EQ(sectors("ca", "16"), 8u);  // 256 bytes
  EXPECT_EQ(sectors("cg", "16"), 16u);
}

Prediction predicted(const Demand& d, const char* device = "H100") {
  return predict(named_device(device), d);
}

TEST(Predict, NamesTheLimit) {
  Demand d;
  d.blocks = d.warps = 132 * 64;
  d.blocks_per_multiprocessor = 8;
  d.instructions = 1e8;
  d.warp_cycles = 1000;
  EXPECT_EQ(predicted(d).limit, Limit::issue);
  Demand m = d;
  m.matrix = 5e7;
  EXPECT_EQ(predicted(m).limit, Limit::matrix);
  Demand b = d;
  b.memory_bytes = 4e9;
  EXPECT_EQ(predicted(b).limit, Limit::memory);
  // 4 GB at 0.9 of 3.35 TB/s, and little besides.
  EXPECT_NEAR(predicted(b).us, 4e9 / (3.35e6 * 0.9), 0.01 * predicted(b).us);
  EXPECT_LT(predicted(b, "H200").us, predicted(b).us);
  EXPECT_GT(predicted(m, "A100").us, predicted(m).us);
  Demand g = d;  // the same by warpgroups
  g.warpgroup = 5e7;
  EXPECT_EQ(predicted(g).limit, Limit::matrix);
  EXPECT_LT(predicted(g).us, predicted(m).us);
  Demand w = d;
  w.warp_cycles = 1e6;
  EXPECT_EQ(predicted(w).limit, Limit::latency);
}

// Two limits that are equal cost more than one of them, but less than one after the other.
TEST(Predict, LimitsOverlapInPart) {
  const double launch = predicted({}).us;
  Demand one;
  one.blocks = 132;
  one.shared = 1e8;
  Demand both = one;
  both.l1 = 4e8;  // as long as the other
  const double alone = predicted(one).us - launch, together = predicted(both).us - launch;
  EXPECT_GT(together, 1.1 * alone);
  EXPECT_LT(together, 1.5 * alone);
}

// Kernels of the tensor cores run at a lower clock.
TEST(Predict, TensorCoresLowerTheClock) {
  Demand d;
  d.blocks = 132;
  d.shared = 1e8;
  Demand m = d;
  m.matrix = 1;
  EXPECT_NEAR(predicted(m).us_of[size_t(Limit::shared)] / predicted(d).us_of[size_t(Limit::shared)],
              1.98 / 1.80, 1e-6);
}

// What a part of a device does with its share of the work, the whole does with all of it.
TEST(Predict, APartTakesAsLongForItsShare) {
  Demand all;
  all.blocks = 132 * 64;
  all.warps = 8 * all.blocks;
  all.blocks_per_multiprocessor = 4;
  for (const auto limit : {&Demand::instructions, &Demand::matrix, &Demand::shared,
                           &Demand::l2_bytes, &Demand::memory_bytes}) {
    Demand a = all;
    a.*limit = 1.32e9;
    Demand b = a;
    b.blocks /= 12;
    b.warps /= 12;
    b.*limit /= 12;
    EXPECT_NEAR(predicted(b, "H100:11").us, predicted(a).us, 1e-6 * predicted(a).us);
  }
  EXPECT_STREQ(named_device("H100:11").name, "H100:11");
  EXPECT_EQ(named_device("A100:27").l2_bytes, named_device("A100").l2_bytes / 4);
  for (const char* wrong : {"H100:", "H100:0", "H100:133", "H100:8x", "H100:-1", "B200", "B200:8"})
    EXPECT_THROW(named_device(wrong), Error) << wrong;
}

TEST(Predict, FewBlocksUseFewMultiprocessors) {
  Demand one;
  one.blocks = 1;
  one.warps = 8;
  one.instructions = 1e6;
  Demand many = one;
  many.blocks = 132;
  many.warps *= 132;
  many.instructions *= 132;
  EXPECT_NEAR(predicted(one).us, predicted(many).us, 1e-6);
  Demand more = many;  // one block more: a second round
  more.blocks = 133;
  EXPECT_GT(predicted(more).us, 1.5 * predicted(many).us);
  EXPECT_GT(predicted({}).us, 0);  // nothing still takes a launch
}

TEST(Predict, MachineInstructions) {
  EXPECT_EQ(machine_instructions("fma.rn.f32"), 1);
  EXPECT_EQ(machine_instructions("ld.param.u64"), 0);
  EXPECT_GT(machine_instructions("div.s64"), machine_instructions("div.u32"));
}

TEST(Profile, TablesNameKernelLineAndLimit) {
  const Device& device = named_device("H100");
  Profile profile(device);
  Module module(
      module_text(".loc 1 5 1\nld.global.u32 %r0, [%d62];\n.loc 1 6 1\nst.global.u32 [%d63], %r0;",
                  {.more = ".file 1 \"copy.cu\""}));
  const Entry* entry = module.entry("kernel");
  Memory memory(1 << 20);
  memory.open();
  void* const block = memory.allocate(4096);
  void* const params[] = {block, block};
  const LaunchShape shape{.grid = {4}, .block = {128}};
  KernelCounters counters;
  counters.l1_bytes = profile.l1_bytes(16, 0);
  EXPECT_EQ(counters.l1_bytes, (256u - 16) * 1024 / 16);
  execute(module, *entry, shape, std::as_bytes(std::span(params)), memory, &counters);
  profile.add({.kernel = "copy",
               .program = entry->program,
               .shape = shape,
               .registers = 16,
               .blocks_per_multiprocessor = 16,
               .replayed = true},
              counters);
  profile.add_copy("fill", 1 << 20, false);
  for (const char* what : {"predicted for H100", "copy", "fill", "2 launches"})
    EXPECT_NE(profile.kernels().find(what), std::string::npos) << profile.kernels();
  for (const char* what : {"predicted", "copy.cu:5", "copy.cu:6"})
    EXPECT_NE(profile.lines().find(what), std::string::npos) << profile.lines();
  for (const char* what : {"predicted at", "4 of 128", " r "})
    EXPECT_NE(profile.timeline().find(what), std::string::npos) << profile.timeline();
}

}  // namespace
}  // namespace diffscm::softgpu::test
