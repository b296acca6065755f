// The container in which nvcc puts what it compiled one source file to: PTX text and, for each
// architecture, machine code (a cubin, an ELF file).
//
// Layout, as nvcc 12 and 13 write it (little-endian): a header {u32 magic 0xBA55ED50, u16 version,
// u16 header bytes, u64 bytes that follow}, then entries {u16 kind (1 PTX, 2 cubin), u16, u32
// header bytes, u64 payload bytes, u32 compressed bytes, u32, u16 minor, u16 major, u32
// architecture, ..., +40 u64 flags, +56 u64 bytes when decompressed} each with its payload. Flags:
// 0x2000 LZ4, 0x8000 Zstandard.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace diffscm::softgpu {

struct Image {
  enum class Kind { ptx, cubin } kind;
  int architecture;      // 80, 90
  std::string contents;  // decompressed
};

// Throws Error for what is no fat binary, or one that cannot be decompressed.
std::vector<Image> read_fatbin(std::span<const std::byte> container);
// The container that starts at `data`, whose header says how long it is.
std::vector<Image> read_fatbin(const void* data);

}  // namespace diffscm::softgpu
