// The header of an .npy file: a Python dictionary literal, parsed by a grammar of exactly that
// shape.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "engine/io/npz.h"

namespace diffscm::io {

struct NpyHeader {
  Shape shape;
  NpyType type = NpyType::f32;
  size_t size = 0;  // bytes before the data
};

// The longest that is read, with what is before it.
constexpr size_t kNpyHeaderLimit = 12 + 65536;

// Of a file of `bytes` bytes that begins with `start`: kNpyHeaderLimit of them, or all. `where`
// names the file, and the array in it, in error messages. Throws Error unless the data that follow
// the header are exactly as long as it says.
NpyHeader parse_npy_header(std::span<const uint8_t> start, uint64_t bytes,
                           const std::string& where);

// Magic, version 1.0, and the dictionary padded so that the data begin at a multiple of 64.
std::string npy_header(const NpyArray& array);

}  // namespace diffscm::io
