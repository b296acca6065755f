// NumPy's .npy and .npz files (numpy.lib.format, versions 1.0 to 3.0), without Python: nothing in a
// file is evaluated, and arrays of Python objects (pickles) are refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/file.h"
#include "engine/tensor.h"

namespace diffscm::io {

enum class NpyType { f32, f64, u8, i32, i64, b8 };
int64_t size_of(NpyType type);
const char* name_of(NpyType type);  // "float32"

// An array in C order.
struct NpyArray {
  Shape shape;
  NpyType type = NpyType::f32;
  std::vector<uint8_t> bytes;  // numel(shape) * size_of(type), little-endian

  static NpyArray from(std::span<const float> values, Shape shape);
  static NpyArray from(std::span<const double> values, Shape shape);
  static NpyArray from(std::span<const int64_t> values, Shape shape);
  static NpyArray from(std::span<const uint8_t> values, Shape shape);
  static NpyArray from(const Tensor& tensor);  // any target

  // Values converted one by one. to_ints throws Error on a floating-point array.
  std::vector<float> to_floats() const;
  std::vector<double> to_doubles() const;
  std::vector<int64_t> to_ints() const;
};

using NpyArrays = std::map<std::string, NpyArray>;

// Types <f4, <f8, |u1, |b1, <i4, <i8; C order. Anything else, and every inconsistency between
// the header and the bytes, is an Error naming the file and the array.
NpyArray read_npy(const std::filesystem::path& path);
void write_npy(const std::filesystem::path& path, const NpyArray& array);  // atomic

// What an array is, without its values.
struct NpyKind {
  Shape shape;
  NpyType type;
};

// Throws Error naming `where` unless the array's bytes and its values at `bytes_each` fit into
// `memory` bytes.
void require_fits(const NpyKind& kind, uint64_t bytes_each, std::string_view where,
                  uint64_t memory = machine_memory());

// What np.savez and np.savez_compressed write. Sizes are checked before anything is allocated, so
// that a small archive cannot ask for a large amount of memory.
NpyArrays read_npz(const std::filesystem::path& path);
// What its arrays are, by name, in little memory however large they are. Checks what read_npz()
// does.
std::map<std::string, NpyKind> npz_contents(const std::filesystem::path& path);
// One array of it, or nothing when there is none of that name. The others are not looked at. What
// it is, is shown to `accept` first: where that throws, the values are not read.
std::optional<NpyArray> read_npz(const std::filesystem::path& path, const std::string& name,
                                 const std::function<void(const NpyKind&)>& accept = {});
// The names of its arrays, in the order of the archive.
std::vector<std::string> npz_names(const std::filesystem::path& path);
// Stored, atomic; the same arrays give the same bytes.
void write_npz(const std::filesystem::path& path, const NpyArrays& arrays);

}  // namespace diffscm::io
