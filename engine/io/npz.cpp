#include "engine/io/npz.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "engine/io/npy_header.h"
#include "engine/io/zip_archive.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kArrayLimit = uint64_t{8} << 30;

NpyArray parse_array(Bytes file, const std::string& where) {
  const NpyHeader header = parse_npy_header(file, file.size(), where);
  file.erase(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(header.size));
  return {header.shape, header.type, std::move(file)};
}

template <class T>
NpyArray pack(std::span<const T> values, Shape shape, NpyType type) {
  require(static_cast<int64_t>(values.size()) == numel(shape), "{} values do not fill shape {}",
          values.size(), to_string(shape));
  NpyArray array{std::move(shape), type, {}};
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  array.bytes.assign(bytes, bytes + values.size_bytes());
  return array;
}

template <class From, class To>
std::vector<To> unpack(const std::vector<uint8_t>& bytes) {
  std::vector<To> out(bytes.size() / sizeof(From));
  for (size_t i = 0; i < out.size(); ++i) {
    From value;
    std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));
    out[i] = static_cast<To>(value);
  }
  return out;
}

template <class To>
std::vector<To> unpack_all(const NpyArray& array) {
  switch (array.type) {
    case NpyType::f32:
      return unpack<float, To>(array.bytes);
    case NpyType::f64:
      return unpack<double, To>(array.bytes);
    case NpyType::u8:
    case NpyType::b8:
      return unpack<uint8_t, To>(array.bytes);
    case NpyType::i32:
      return unpack<int32_t, To>(array.bytes);
    case NpyType::i64:
      return unpack<int64_t, To>(array.bytes);
  }
  return {};
}

constexpr std::string_view kEnding = ".npy";

ZipReader open_npz(const fs::path& path) {
  return ZipReader(path, ".npz", "array");
}

// Of the array in that entry.
std::string name_of(const ZipReader::Entry& entry) {
  return entry.name.substr(0, entry.name.size() - kEnding.size());
}

// Shows what the entry's array is to `begin`, then its bytes, piece by piece, to `data`.
void walk_array(const ZipReader& archive, const ZipReader::Entry& entry,
                const std::function<void(const NpyHeader&)>& begin,
                const std::function<void(std::span<const uint8_t>)>& data) {
  Bytes start;
  bool begun = false;
  archive.read(entry, [&](std::span<const uint8_t> piece) {
    if (begun) return data(piece);
    start.insert(start.end(), piece.begin(), piece.end());
    if (start.size() < std::min<uint64_t>(kNpyHeaderLimit, entry.size)) return;
    const NpyHeader header = parse_npy_header(start, entry.size, entry.where);
    begin(header);
    data(std::span(start).subspan(header.size));
    begun = true;
  });
  require(begun, "{} is empty", entry.where);
}

NpyArray read_entry(const ZipReader& archive, const ZipReader::Entry& entry,
                    const std::function<void(const NpyKind&)>& accept = {}) {
  NpyArray array;
  const auto begin = [&](const NpyHeader& header) {
    if (accept) accept({header.shape, header.type});
    array = {header.shape, header.type, {}};
    array.bytes.reserve(entry.size - header.size);
  };
  walk_array(archive, entry, begin, [&](std::span<const uint8_t> piece) {
    array.bytes.insert(array.bytes.end(), piece.begin(), piece.end());
  });
  return array;
}

}  // namespace

int64_t size_of(NpyType type) {
  constexpr int64_t kSizes[] = {4, 8, 1, 4, 8, 1};
  return kSizes[static_cast<int>(type)];
}

const char* name_of(NpyType type) {
  constexpr const char* kNames[] = {"float32", "float64", "uint8", "int32", "int64", "bool"};
  return kNames[static_cast<int>(type)];
}

NpyArray NpyArray::from(std::span<const float> values, Shape shape) {
  return pack(values, std::move(shape), NpyType::f32);
}
NpyArray NpyArray::from(std::span<const double> values, Shape shape) {
  return pack(values, std::move(shape), NpyType::f64);
}
NpyArray NpyArray::from(std::span<const int64_t> values, Shape shape) {
  return pack(values, std::move(shape), NpyType::i64);
}
NpyArray NpyArray::from(std::span<const uint8_t> values, Shape shape) {
  return pack(values, std::move(shape), NpyType::u8);
}
NpyArray NpyArray::from(const Tensor& tensor) {
  const Tensor host = tensor.to(Target::cpu);
  const auto count = static_cast<size_t>(host.numel());
  if (host.dtype() == Dtype::i64) return from(std::span(host.data_i64(), count), host.shape());
  return from(std::span(host.data(), count), host.shape());
}

std::vector<float> NpyArray::to_floats() const {
  return unpack_all<float>(*this);
}

std::vector<double> NpyArray::to_doubles() const {
  return unpack_all<double>(*this);
}

std::vector<int64_t> NpyArray::to_ints() const {
  switch (type) {
    case NpyType::u8:
    case NpyType::b8:
      return unpack<uint8_t, int64_t>(bytes);
    case NpyType::i32:
      return unpack<int32_t, int64_t>(bytes);
    case NpyType::i64:
      return unpack<int64_t, int64_t>(bytes);
    default:
      fail("an array of {} cannot be read as integers", name_of(type));
  }
}

void require_fits(const NpyKind& kind, uint64_t bytes_each, std::string_view where,
                  uint64_t memory) {
  const auto values = static_cast<uint64_t>(numel(kind.shape));
  const uint64_t each = static_cast<uint64_t>(size_of(kind.type)) + bytes_each;
  require(
      values <= memory / each,
      "{}: shape {} of {} takes {} MiB to read, more than the {} that there are: give a part of it",
      where, to_string(kind.shape), name_of(kind.type), (values >> 10) * each >> 10, memory >> 20);
}

NpyArray read_npy(const fs::path& path) {
  return parse_array(read_file(path, kArrayLimit), show(path));
}

void write_npy(const fs::path& path, const NpyArray& array) {
  atomic_write(path, [&](FileSink& sink) {
    sink.write(npy_header(array));
    sink.write(array.bytes.data(), array.bytes.size());
  });
}

NpyArrays read_npz(const fs::path& path) {
  const ZipReader archive = open_npz(path);
  NpyArrays arrays;
  for (const ZipReader::Entry& entry : archive.entries()) {
    require(entry.name.ends_with(kEnding), "{} is not an .npy array", entry.where);
    const bool added = arrays.try_emplace(name_of(entry), read_entry(archive, entry)).second;
    require(added, "{} appears twice", entry.where);
  }
  return arrays;
}

std::map<std::string, NpyKind> npz_contents(const fs::path& path) {
  const ZipReader archive = open_npz(path);
  std::map<std::string, NpyKind> contents;
  for (const ZipReader::Entry& entry : archive.entries()) {
    require(entry.name.ends_with(kEnding), "{} is not an .npy array", entry.where);
    bool added = false;
    const auto begin = [&](const NpyHeader& header) {
      added = contents.emplace(name_of(entry), NpyKind{header.shape, header.type}).second;
    };
    walk_array(archive, entry, begin, [](std::span<const uint8_t>) {});
    require(added, "{} appears twice", entry.where);
  }
  return contents;
}

std::optional<NpyArray> read_npz(const fs::path& path, const std::string& name,
                                 const std::function<void(const NpyKind&)>& accept) {
  const ZipReader archive = open_npz(path);
  for (const ZipReader::Entry& entry : archive.entries())
    if (entry.name.ends_with(kEnding) && name_of(entry) == name)
      return read_entry(archive, entry, accept);
  return {};
}

std::vector<std::string> npz_names(const fs::path& path) {
  std::vector<std::string> names;
  const ZipReader archive = open_npz(path);
  for (const ZipReader::Entry& entry : archive.entries())
    if (entry.name.ends_with(kEnding)) names.push_back(name_of(entry));
  return names;
}

void write_npz(const fs::path& path, const NpyArrays& arrays) {
  std::vector<std::string> headers;
  headers.reserve(arrays.size());  // entries point into them
  std::vector<ZipEntry> entries;
  for (const auto& [name, array] : arrays) {
    const std::string& header = headers.emplace_back(npy_header(array));
    entries.push_back(
        {name + std::string(kEnding),
         {{reinterpret_cast<const uint8_t*>(header.data()), header.size()}, array.bytes}});
  }
  write_zip(path, entries);
}

}  // namespace diffscm::io
