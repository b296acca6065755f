// safetensors: named tensors in one file, as Hugging Face defines it
// (https://huggingface.co/docs/safetensors): 8 bytes little-endian header length, a JSON header,
// then the tensors' bytes back to back.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "engine/io/stored_floats.h"
#include "engine/tensor.h"

namespace diffscm::io {

struct Safetensors {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

// F32 and I64 as they are; F64, F16 and BF16 become f32. Tensors are on the cpu target. Throws
// Error naming the file and the problem on anything the format forbids: every byte of the data must
// belong to exactly one tensor, and no name or key may appear twice. Memory use is bounded by four
// times the file's size; large tensors that need no conversion are not read but mapped: their
// memory is the file's, read when it is looked at.
Safetensors read_safetensors(const std::filesystem::path& path);
// The metadata alone, from the header, which is checked as strictly; no tensor is read.
std::map<std::string, std::string> read_safetensors_metadata(const std::filesystem::path& path);

// Atomic. Tensors lie in the file in order of name; the header is padded with spaces to 8 bytes, so
// the same contents give the same bytes. Tensors may live on any target. Throws Error, besides on
// what cannot be written, as stored_bytes() does.
void write_safetensors(const std::filesystem::path& path, const Safetensors& contents,
                       StoredFloats floats = StoredFloats::f32);

}  // namespace diffscm::io
