#include "engine/io/npz.h"

#include <zip.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "engine/io/file.h"
#include "engine/io/npy_header.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

namespace fs = std::filesystem;

constexpr zip_int64_t kMaxArrays = 10000;
constexpr uint64_t kArrayLimit = uint64_t{8} << 30;
// No deflate stream expands by more (zlib's technical notes: 1032:1); the slack is for empty
// streams.
constexpr uint64_t kDeflateLimit = 1032, kDeflateSlack = 1032;

using Archive = std::unique_ptr<zip_t, void (*)(zip_t*)>;
using ZipFile = std::unique_ptr<zip_file_t, int (*)(zip_file_t*)>;

Archive open_archive(const fs::path& path) {
  const FileReader probe(path);  // libzip's own message for a folder or pipe is unclear
  int code = 0;
  Archive archive(zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code), zip_discard);
  if (!archive) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string message = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail("{} is not a valid .npz archive: {}", show(path), message);
  }
  return archive;
}

NpyArray parse_array(Bytes file, const std::string& where) {
  const NpyHeader header = parse_npy_header(file, where);
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

struct Entry {
  zip_uint64_t index;
  std::string name, where;  // without .npy; of the file and the array, for messages
  bool is_npy;
  zip_stat_t stat;
};

// An archive open for reading, and its entries, whose sizes are possible.
struct OpenNpz {
  explicit OpenNpz(const fs::path& path) : archive(open_archive(path)) {
    const uint64_t file_size = FileReader(path).size();
    const zip_int64_t count = zip_get_num_entries(archive.get(), 0);
    require(count >= 0 && count <= kMaxArrays, "{} has {} entries, the limit is {}", show(path),
            count, kMaxArrays);
    uint64_t compressed_total = 0;  // entries that overlap (a "zip bomb") would exceed the file
    for (zip_uint64_t i = 0; i < static_cast<zip_uint64_t>(count); ++i) {
      zip_stat_t stat;
      constexpr zip_uint64_t kNeeded = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
                                       ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
      require(zip_stat_index(archive.get(), i, 0, &stat) == 0 && (stat.valid & kNeeded) == kNeeded,
              "{}: entry {} is corrupt", show(path), i);
      std::string name = stat.name;
      std::string where = fmt::format("{}, array {}", show(path), show(name));
      const bool is_npy = name.ends_with(".npy");
      if (is_npy) name.resize(name.size() - 4);
      const bool stored = stat.comp_method == ZIP_CM_STORE;
      compressed_total += std::min(stat.comp_size, file_size + 1);
      require(compressed_total <= file_size && stat.size <= kArrayLimit &&
                  stat.size <=
                      (stored ? stat.comp_size : stat.comp_size * kDeflateLimit + kDeflateSlack),
              "{} claims {} bytes, more than the archive can hold", where, stat.size);
      entries.push_back({i, std::move(name), std::move(where), is_npy, stat});
    }
  }

  Archive archive;
  std::vector<Entry> entries;
};

NpyArray read_entry(zip_t* archive, const Entry& entry) {
  const std::string& where = entry.where;
  require(entry.stat.encryption_method == ZIP_EM_NONE &&
              (entry.stat.comp_method == ZIP_CM_STORE || entry.stat.comp_method == ZIP_CM_DEFLATE),
          "{} is encrypted or compressed by a method other than deflate", where);
  const ZipFile file(zip_fopen_index(archive, entry.index, 0), zip_fclose);
  require(file != nullptr, "{} cannot be read: {}", where, zip_strerror(archive));
  Bytes bytes(entry.stat.size);
  uint64_t done = 0;
  uint8_t extra;
  while (true) {  // one byte beyond the end: libzip compares the checksum there
    const bool at_end = done == bytes.size();
    const zip_int64_t got = zip_fread(file.get(), at_end ? &extra : bytes.data() + done,
                                      at_end ? 1 : bytes.size() - done);
    require(got >= 0, "{} is corrupt: {}", where, zip_file_strerror(file.get()));
    if (got == 0) break;
    require(!at_end, "{} is longer than it claims", where);
    done += static_cast<uint64_t>(got);
  }
  require(done == bytes.size(), "{} is shorter than it claims", where);
  return parse_array(std::move(bytes), where);
}

// Writes the zip that a source holds in memory.
void write_source(zip_source_t* source, FileSink& sink) {
  require(zip_source_open(source) == 0, "libzip cannot reopen its buffer");
  Bytes chunk(size_t{1} << 20);
  zip_int64_t got = 0;
  while ((got = zip_source_read(source, chunk.data(), chunk.size())) > 0)
    sink.write(chunk.data(), static_cast<size_t>(got));
  zip_source_close(source);
  require(got == 0, "libzip cannot read its buffer");
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
  const OpenNpz npz(path);
  NpyArrays arrays;
  for (const Entry& entry : npz.entries) {
    require(entry.is_npy, "{} is not an .npy array", entry.where);
    const bool added = arrays.try_emplace(entry.name, read_entry(npz.archive.get(), entry)).second;
    require(added, "{} appears twice", entry.where);
  }
  return arrays;
}

std::optional<NpyArray> read_npz(const fs::path& path, const std::string& name) {
  const OpenNpz npz(path);
  for (const Entry& entry : npz.entries)
    if (entry.is_npy && entry.name == name) return read_entry(npz.archive.get(), entry);
  return {};
}

std::vector<std::string> npz_names(const fs::path& path) {
  std::vector<std::string> names;
  for (const Entry& entry : OpenNpz(path).entries)
    if (entry.is_npy) names.push_back(entry.name);
  return names;
}

void write_npz(const fs::path& path, const NpyArrays& arrays) {
  zip_error_t error;
  zip_error_init(&error);
  const std::unique_ptr<zip_source_t, void (*)(zip_source_t*)> buffer(
      zip_source_buffer_create(nullptr, 0, 0, &error), zip_source_free);
  require(buffer != nullptr, "libzip cannot allocate");
  zip_source_keep(buffer.get());  // one reference for us, one for the archive
  zip_t* archive = zip_open_from_source(buffer.get(), ZIP_TRUNCATE, &error);
  if (!archive) zip_source_free(buffer.get());
  require(archive != nullptr, "libzip cannot create an archive");
  Archive guard(archive, zip_discard);
  std::map<std::string, Bytes> files;  // libzip reads them when the archive is closed
  for (const auto& [name, array] : arrays) {
    const std::string header = npy_header(array);
    Bytes& file = files[name + ".npy"];
    file.assign(header.begin(), header.end());
    file.insert(file.end(), array.bytes.begin(), array.bytes.end());
  }
  for (const auto& [name, file] : files) {
    zip_source_t* source = zip_source_buffer(archive, file.data(), file.size(), 0);
    const zip_int64_t index =
        source ? zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_UTF_8) : -1;
    if (index < 0 && source) zip_source_free(source);
    require(index >= 0, "cannot add {} to {}: {}", show(name), show(path), zip_strerror(archive));
    const auto entry = static_cast<zip_uint64_t>(index);
    zip_set_file_compression(archive, entry, ZIP_CM_STORE, 0);
    constexpr zip_uint16_t kFirstOfJanuary1980 =
        1 << 5 | 1;  // the zip epoch: same bytes every time
    zip_file_set_dostime(archive, entry, 0, kFirstOfJanuary1980, 0);
  }
  if (arrays.empty()) {
    // libzip writes nothing for an empty archive; NumPy reads a bare end record.
    constexpr char kEmpty[] = "PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    return atomic_write(path, std::string_view(kEmpty, 22));
  }
  if (zip_close(archive) != 0) fail("cannot write {}: {}", show(path), zip_strerror(archive));
  (void)guard.release();  // zip_close freed it
  atomic_write(path, [&](FileSink& sink) { write_source(buffer.get(), sink); });
}

}  // namespace diffscm::io
