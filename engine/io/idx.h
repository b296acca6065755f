// IDX: the format of the MNIST files (http://yann.lecun.com/exdb/mnist): big-endian magic
// 00 00 08 <rank>, <rank> 32-bit sizes, then unsigned bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "engine/tensor.h"

namespace diffscm::io {

struct IdxArray {
  Shape shape;
  std::vector<uint8_t> values;  // numel(shape) of them
};

// Plain or gzip, told apart by the first bytes, not by the name. Throws Error on a wrong magic
// number, a length that differs from the sizes, a corrupt stream or bytes after it. Several gzip
// members are one stream (RFC 1952). No more is inflated than the file's own header declares.
IdxArray read_idx(const std::filesystem::path& path);

// As gzip, atomically.
void write_idx(const std::filesystem::path& path, const IdxArray& array);

}  // namespace diffscm::io
