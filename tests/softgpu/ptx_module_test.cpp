// What a module declares, what is refused, and what an error says.
#include "tests/softgpu/ptx_support.h"

namespace diffscm::softgpu::test {
namespace {

using Words = std::vector<uint32_t>;

TEST(PtxModule, DeclaresKernelsAndVariables) {
  Module module(R"(
.version 8.0
.target sm_90
.address_size 64
.global .align 4 .u32 table[3] = {1, 2, 0x10};
.const .align 8 .b8 bytes[8] = {1};
.visible .entry first(.param .u8 a, .param .align 8 .b8 b[12], .param .f64 c)
.maxntid 128, 2, 1
{
  .shared .align 16 .b8 fixed[40];
  .reg .b32 %r<2>;
  ld.shared.u32 %r0, [fixed+36];
  ret;
})");
  const Entry* entry = module.entry("first");
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(module.entry("second"), nullptr);
  ASSERT_EQ(entry->params.size(), 3u);
  EXPECT_EQ(entry->params[1].offset, 8u);
  EXPECT_EQ(entry->params[2].offset, 24u);
  EXPECT_EQ(entry->param_bytes, 32u);
  EXPECT_EQ(entry->max_threads, 256u);
  EXPECT_EQ(entry->static_shared_bytes, 48u);
  const Variable* table = module.variable("table");
  ASSERT_NE(table, nullptr);
  EXPECT_EQ(table->bytes, 12u);
  EXPECT_EQ(static_cast<int>(table->data[8]), 0x10);
  EXPECT_TRUE(module.variable("bytes")->constant);
}

std::string said_of(const std::string& body) {
  return error_of([&] { Module(module_text(body, {})).entry("kernel"); });
}

TEST(PtxModule, WhatIsNotKnownIsNamed) {
  const auto names = [](const std::string& body, const std::string& what) {
    EXPECT_NE(said_of(body).find(what), std::string::npos) << said_of(body);
    EXPECT_NE(said_of(body).find("PTX line "), std::string::npos);
    EXPECT_NE(said_of(body).find("kernel"), std::string::npos);
  };
  names("wgmma.fence.sync;", "'wgmma.fence.sync' is not known");
  names("add.s32 %r0, %r1;", "'add.s32' is not known with these operands");
  names("add.s32 %r0, %r1, %d0;", "'add.s32' is not known with these operands");
  names(".surprise 3;", "'.surprise' is not known");
  names("mov.u32 %r0, %clock;", "'%clock' is not known");
  names("bra nowhere;", "no label 'nowhere'");
  names("mov.u64 %d0, missing;", "'missing'");
  names("@%q0 mov.u32 %r0, 1;", "'%q0' is not declared");
  names("mov.u32 %r0, 1 mov.u32 %r1, 2;", "';' should stand");
}

TEST(PtxModule, TextThatIsCutOffIsRefused) {
  const std::string text = module_text("mov.u32 %r0, 1;\n", {});
  for (size_t length = text.find(".entry") + 7; length < text.size() - 3; length += 7)
    EXPECT_NE(error_of([&] { Module(text.substr(0, length)).entry("kernel"); }), "") << length;
}

TEST(PtxModule, ErrorsNameTheLineTheThreadAndTheAllocation) {
  const std::string body = R"(
    .loc 1 42 3
    ld.global.u32 %r0, [%d62+4];
    st.global.u32 [%d63], %r0;)";
  const Stage run{.shape = {.grid = {2}, .block = {32}},
                  .more = ".file 1 \"/some/where/planted.cu\""};
  const std::string error = error_of([&] { run_ptx(body, Words(64), run); });
  for (const char* what : {"kernel at planted.cu:42, block (1, 0, 0), thread (31, 0, 0)",
                           "ld.global.u32", "0 bytes past the end of allocation 1 (256 bytes)"})
    EXPECT_NE(error.find(what), std::string::npos) << error;
}

TEST(PtxModule, AccessesThatHardwareRefuses) {
  expect_error("ld.global.v2.u32 {%r0, %r1}, [%d60+4];", "not aligned to 8 bytes");
  expect_error("mov.u64 %d0, 16; st.global.u32 [%d0], %r62;", "in no allocation");
  expect_error("ld.shared.u32 %r0, [dynamic+4];", "4 bytes at 4 of 4 bytes of shared memory",
               {.shape = {.block = {32}, .dynamic_shared_bytes = 4}});
  expect_error("ld.shared.u16 %h0, [dynamic+1];", "not aligned to 2 bytes",
               {.shape = {.block = {32}, .dynamic_shared_bytes = 4}});
  expect_error("ld.param.u64 %d0, [out+8];", "of parameters");
  expect_error("trap;", "trap");
}

TEST(PtxModule, DeadlockSaysWhoWaitsWhere) {
  const std::string body = R"(
    .loc 1 7 1
    setp.lt.u32 %p0, %r62, 32;
    @%p0 bra low;
    bar.sync 0;
    bra.uni end;
  low:
    .loc 1 9 1
    bar.sync 1;
  end:)";
  expect_error(body,
               "deadlock: 32 threads of 1 warps wait at f.cu:7 (bar.sync); 32 threads of 1 warps "
               "wait at f.cu:9",
               {.shape = {.block = {64}}, .more = ".file 1 \"f.cu\""});
}

// Registers that are never live at once share a place; values must survive it.
TEST(PtxModule, RegistersThatShareAPlaceDoNotMixUp) {
  std::string body = "mov.u32 %r0, %r62;\n";
  for (int k = 1; k < 50; ++k)
    body += fmt::format("add.s32 %r{}, %r{}, %r{};\n", k, k - 1, k > 8 ? k - 8 : 0);
  body += "st.global.u32 [%d63], %r49;";
  const Words out = run_ptx(body, {});
  for (uint32_t l = 0; l < 32; ++l) {
    Words r(50, l);
    for (size_t k = 1; k < 50; ++k) r[k] = r[k - 1] + r[k > 8 ? k - 8 : 0];
    EXPECT_EQ(out[l], r[49]);
  }
}

TEST(PtxModule, CountsSectorsAndBankConflicts) {
  const auto count = [](const std::string& body, const std::string& what) {
    KernelCounters counters;
    run_ptx(body, Words(2048),
            {.shape = {.block = {32}, .dynamic_shared_bytes = 4096},
             .in_bytes = 4,
             .counters = &counters});
    uint64_t sectors = 0, wavefronts = 0, ideal = 0;
    for (const auto& c : counters.instructions)
      sectors += c.sectors, wavefronts += c.wavefronts, ideal += c.ideal_wavefronts;
    return what == "sectors" ? sectors : what == "wavefronts" ? wavefronts : ideal;
  };
  const auto load = [&](int stride) {
    return fmt::format(
        "mul.wide.u32 %d0, %r62, {}; add.s64 %d0, %d60, %d0; ld.global.u32 %r0, [%d0];", stride);
  };
  EXPECT_EQ(count(load(4), "sectors"), 4u);
  EXPECT_EQ(count(load(8), "sectors"), 8u);
  EXPECT_EQ(count(load(128), "sectors"), 32u);
  EXPECT_EQ(count(load(0), "sectors"), 1u);
  const auto shared = [&](const std::string& type, int stride) {
    return fmt::format(
        "mul.lo.s32 %r1, %r62, {}; mov.u32 %r2, dynamic; add.s32 %r1, %r1, %r2; ld.shared.{}, "
        "[%r1];",
        stride, type);
  };
  EXPECT_EQ(count(shared("u32 %r0", 4), "wavefronts"), 1u);
  EXPECT_EQ(count(shared("u32 %r0", 8), "wavefronts"), 2u);
  EXPECT_EQ(count(shared("u32 %r0", 128), "wavefronts"), 32u);
  EXPECT_EQ(count(shared("u32 %r0", 128), "ideal"), 1u);
  EXPECT_EQ(count(shared("u32 %r0", 0), "wavefronts"), 1u);
  EXPECT_EQ(count(shared("v4.u32 {%r3, %r4, %r5, %r6}", 16), "wavefronts"), 4u);
  EXPECT_EQ(count(shared("v4.u32 {%r3, %r4, %r5, %r6}", 64), "wavefronts"), 16u);
  EXPECT_EQ(count(shared("u16 %h0", 2), "wavefronts"), 1u);
}

}  // namespace
}  // namespace diffscm::softgpu::test
