// What ptxas decided about each kernel, read from its machine code's ELF file: registers, which
// bound how many threads fit on a multiprocessor, and local memory.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace diffscm::softgpu {

struct KernelResources {
  int registers = 0;       // per thread
  size_t local_bytes = 0;  // per thread: arrays and spills
};

// By mangled name. Throws Error for what is no cubin.
// Source: `.nv.info` holds attributes {u8 format, u8 attribute, u16 bytes, payload}; REGCOUNT
// (0x2f) and MIN_STACK_SIZE (0x12) are pairs {symbol, value}. Checked against ptxas's own report.
std::map<std::string, KernelResources, std::less<>> read_cubin(std::string_view elf);

}  // namespace diffscm::softgpu
