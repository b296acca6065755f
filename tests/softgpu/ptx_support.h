// A few lines of PTX, run on one block: values in, values out, some per thread.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/softgpu/counters.h"
#include "kernels/softgpu/execute.h"

namespace diffscm::softgpu::test {

struct Stage {
  LaunchShape shape = {.block = {32}};
  uint32_t in_bytes = 4, out_bytes = 4;  // per thread
  KernelCounters* counters = nullptr;
  std::string more = {};  // declarations of module scope
};

inline std::string module_text(const std::string& body, const Stage& run) {
  return fmt::format(R"(
.version 8.0
.target sm_90
.address_size 64
.extern .shared .align 16 .b8 dynamic[];
{}
.entry kernel(.param .u64 in, .param .u64 out) {{
  .reg .pred %p<16>; .reg .b16 %h<32>; .reg .b32 %r<64>; .reg .f32 %f<64>;
  .reg .b64 %d<64>;  .reg .f64 %g<32>;
  ld.param.u64 %d60, [in];
  ld.param.u64 %d61, [out];
  mov.u32 %r60, %ctaid.x;
  mov.u32 %r61, %ntid.x;
  mov.u32 %r62, %tid.x;
  mad.lo.s32 %r63, %r60, %r61, %r62;
  mul.wide.u32 %d62, %r63, {};
  mul.wide.u32 %d63, %r63, {};
  add.s64 %d62, %d60, %d62;
  add.s64 %d63, %d61, %d63;
  {}
  ret;
}}
)",
                     run.more, run.in_bytes, run.out_bytes, body);
}

// The body finds its thread's input at [%d62] and puts its result at [%d63]; %r62 is its number in
// the block, %r63 in the grid; %d60 and %d61 are the whole arrays. `in` and the result: words of
// 4 bytes, of all threads.
inline std::vector<uint32_t> run_ptx(const std::string& body, const std::vector<uint32_t>& in,
                                     Stage run = {}) {
  Module module(module_text(body, run));
  Memory memory(size_t{1} << 26);
  memory.open();
  const uint64_t threads = uint64_t{run.shape.grid.x} * run.shape.block.x;
  void* const source = memory.allocate(std::max<size_t>(in.size() * 4, 4));
  void* const result = memory.allocate(threads * run.out_bytes);
  if (!in.empty()) std::memcpy(source, in.data(), in.size() * 4);
  void* const params[] = {source, result};
  execute(module, *module.entry("kernel"), run.shape, std::as_bytes(std::span(params)), memory,
          run.counters);
  std::vector<uint32_t> out(threads * run.out_bytes / 4);
  std::memcpy(out.data(), result, out.size() * 4);
  return out;
}

inline uint32_t bits(float value) {
  return std::bit_cast<uint32_t>(value);
}
inline float number(uint32_t bits) {
  return std::bit_cast<float>(bits);
}

// The same instruction on many operands: `operands[k][i]` is its k-th in case i. The result has 4
// bytes. `instruction` reads %r0, %r1, %r2 or %f0, %f1, %f2 and writes %r9 or %f9.
inline std::vector<uint32_t> on_words(const std::string& instruction,
                                      const std::vector<std::vector<uint32_t>>& cases) {
  std::vector<uint32_t> in(cases.size() * 3);
  for (size_t i = 0; i < cases.size(); ++i)
    std::copy(cases[i].begin(), cases[i].end(), in.begin() + static_cast<ptrdiff_t>(3 * i));
  const bool floats = instruction.find("%f9") != std::string::npos;
  std::string body;
  for (int k = 0; k < 3; ++k)
    body += fmt::format("ld.global.u32 %r{0}, [%d62+{1}]; mov.b32 %f{0}, %r{0};\n", k, 4 * k);
  body += instruction +
          fmt::format("\nst.global.{} [%d63], %{}9;", floats ? "f32" : "u32", floats ? 'f' : 'r');
  const auto threads = static_cast<uint32_t>(cases.size());
  return run_ptx(body, in, {.shape = {.block = {threads}}, .in_bytes = 12});
}

// What Error says of a module or a run; empty if it says nothing.
template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

inline void expect_error(const std::string& body, const std::string& message, Stage run = {},
                         const std::vector<uint32_t>& in = std::vector<uint32_t>(64)) {
  const std::string error = error_of([&] { run_ptx(body, in, run); });
  EXPECT_NE(error.find(message), std::string::npos) << "said: " << error;
}

}  // namespace diffscm::softgpu::test
