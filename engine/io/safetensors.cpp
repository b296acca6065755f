#include "engine/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "engine/io/file.h"
#include "engine/io/half.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the file's byte order is the machine's");

constexpr uint64_t kHeaderLimit = 100'000'000;
constexpr size_t kMaxRank = 8;
constexpr const char* kMetadata = "__metadata__";

struct Kind {
  const char* name;
  uint64_t size;
};
constexpr Kind kF32{"F32", 4}, kI64{"I64", 8}, kF64{"F64", 8}, kF16{"F16", 2}, kBf16{"BF16", 2};
constexpr const Kind* kKinds[] = {&kF32, &kI64, &kF64, &kF16, &kBf16};

struct Entry {
  std::string name;
  const Kind* kind = nullptr;
  Shape shape;
  uint64_t begin = 0, end = 0;
};

// The message every check of the header shares.
template <class... A>
void check(bool ok, const fs::path& path, fmt::format_string<A...> format, A&&... args) {
  if (!ok) [[unlikely]]
    fail("{} is not a valid safetensors file: {}", show(path),
         fmt::format(format, std::forward<A>(args)...));
}

// nlohmann::json keeps the last of two equal keys; the format forbids them, and a file that two
// readers understand differently is an attack. Depth 3 is what the format needs.
json parse_header(const fs::path& path, const Bytes& text) {
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
        check(depth < 2, path, "the header nests objects deeper than the format does");
        keys.emplace_back();
        break;
      case json::parse_event_t::array_start:
        check(depth < 3, path, "the header nests arrays deeper than the format does");
        break;
      case json::parse_event_t::object_end:
        keys.pop_back();
        break;
      case json::parse_event_t::key: {
        const auto& key = parsed.get_ref<const std::string&>();
        check(keys.back().insert(key).second, path, "the key {} appears twice", show(key));
        break;
      }
      default:
        break;
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), watch);
  } catch (const json::parse_error& error) {
    check(false, path, "the header is not JSON at byte {}", error.byte);
  } catch (const json::exception&) {  // a number out of range
    check(false, path, "the header holds a number no reader can represent");
  }
  return {};
}

uint64_t unsigned_of(const fs::path& path, const std::string& name, const json& value) {
  check(value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{INT64_MAX}, path,
        "tensor {} has {} where a size is expected", show(name), show(value.dump()));
  return value.get<uint64_t>();
}

Entry parse_entry(const fs::path& path, const std::string& name, const json& value) {
  Entry entry;
  entry.name = name;
  check(value.is_object() && value.size() == 3 && value.contains("dtype") &&
            value.contains("shape") && value.contains("data_offsets"),
        path, "tensor {} must have exactly dtype, shape and data_offsets", show(name));
  const json& dtype = value["dtype"];
  const json& shape = value["shape"];
  const json& offsets = value["data_offsets"];
  check(dtype.is_string(), path, "the dtype of tensor {} is not a string", show(name));
  for (const Kind* kind : kKinds)
    if (dtype.get_ref<const std::string&>() == kind->name) entry.kind = kind;
  check(entry.kind != nullptr, path,
        "tensor {} has dtype {}; diffscm reads F32, I64, F64, F16 and BF16", show(name),
        show(dtype.get_ref<const std::string&>()));
  check(shape.is_array() && shape.size() <= kMaxRank, path,
        "the shape of tensor {} is not a list of at most {} sizes", show(name), kMaxRank);
  uint64_t bytes = entry.kind->size;
  for (const json& dim : shape) {
    const uint64_t size = unsigned_of(path, name, dim);
    entry.shape.push_back(static_cast<int64_t>(size));
    // A zero must not hide an overflow of the other sizes.
    check(!__builtin_mul_overflow(bytes, std::max<uint64_t>(size, 1), &bytes), path,
          "the shape of tensor {} overflows", show(name));
  }
  if (std::ranges::find(entry.shape, 0) != entry.shape.end()) bytes = 0;
  check(offsets.is_array() && offsets.size() == 2, path,
        "the data_offsets of tensor {} are not [begin, end]", show(name));
  entry.begin = unsigned_of(path, name, offsets[0]);
  entry.end = unsigned_of(path, name, offsets[1]);
  check(entry.begin <= entry.end && entry.end - entry.begin == bytes, path,
        "tensor {} of dtype {} and shape {} needs {} bytes, its data_offsets are [{}, {}]",
        show(name), entry.kind->name, to_string(entry.shape), bytes, entry.begin, entry.end);
  return entry;
}

// Every byte of the data must belong to one tensor: no overlap, no gap, nothing left.
void check_coverage(const fs::path& path, std::vector<Entry>& entries, uint64_t data_size) {
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t expected = 0;
  for (const Entry& entry : entries) {
    check(entry.begin == expected, path,
          "tensor {} begins at byte {} of the data, expected {} ({})", show(entry.name),
          entry.begin, expected,
          entry.begin < expected ? "tensors overlap" : "bytes belong to no tensor");
    check(
        entry.end <= data_size, path,
        "tensor {} ends at byte {} of the data, but only {} bytes follow the header; was the file "
        "cut short?",
        show(entry.name), entry.end, data_size);
    expected = entry.end;
  }
  check(expected == data_size, path, "{} bytes follow the last tensor", data_size - expected);
}

template <class T, class Convert>
void convert(const Bytes& raw, float* out, Convert to_float) {
  for (size_t i = 0; i < raw.size() / sizeof(T); ++i) {
    T value;
    std::memcpy(&value, raw.data() + i * sizeof(T), sizeof(T));
    out[i] = to_float(value);
  }
}

Tensor read_tensor(const FileReader& reader, const std::shared_ptr<uint8_t[]>& mapped,
                   const Entry& entry, uint64_t data_begin) {
  const std::string_view kind = entry.kind->name;
  const bool as_it_is = kind == "F32" || kind == "I64";
  if (constexpr uint64_t kMapped = 1 << 20; as_it_is && entry.end - entry.begin >= kMapped &&
                                            (data_begin + entry.begin) % entry.kind->size == 0)
    return Tensor::borrowed(mapped, mapped.get() + data_begin + entry.begin, entry.shape,
                            kind == "I64" ? Dtype::i64 : Dtype::f32);
  Tensor tensor(entry.shape, Target::cpu, kind == "I64" ? Dtype::i64 : Dtype::f32);
  const uint64_t offset = data_begin + entry.begin, size = entry.end - entry.begin;
  if (size == 0) return tensor;
  if (as_it_is) {
    void* memory = kind == "I64" ? static_cast<void*>(tensor.mutable_data_i64())
                                 : static_cast<void*>(tensor.mutable_data());
    reader.read(offset, {static_cast<uint8_t*>(memory), size});
    return tensor;
  }
  Bytes raw(size);
  reader.read(offset, raw);
  float* out = tensor.mutable_data();
  if (kind == "F64") convert<double>(raw, out, [](double v) { return static_cast<float>(v); });
  if (kind == "F16") convert<uint16_t>(raw, out, float_of_half);
  if (kind == "BF16") convert<uint16_t>(raw, out, float_of_bfloat16);
  return tensor;
}

struct Header {
  std::vector<Entry> entries;  // in order of their place in the file
  std::map<std::string, std::string> metadata;
  uint64_t data_begin = 0;
};

Header read_header(const fs::path& path, const FileReader& reader) {
  check(reader.size() >= 8, path, "it has {} bytes, a header needs at least 8", reader.size());
  uint64_t size = 0;
  reader.read(0, {reinterpret_cast<uint8_t*>(&size), sizeof size});
  check(size <= kHeaderLimit, path, "its header claims {} bytes, the limit is {}", size,
        kHeaderLimit);
  check(size <= reader.size() - 8, path,
        "its header claims {} bytes, the file has {}; was it cut short?", size, reader.size());
  Bytes text(size);
  reader.read(8, text);
  check(!text.empty() && text[0] == '{', path, "the header does not begin with {{");
  const json parsed = parse_header(path, text);

  Header header;
  for (const auto& [name, value] : parsed.items()) {
    if (name != kMetadata) {
      header.entries.push_back(parse_entry(path, name, value));
      continue;
    }
    check(value.is_object(), path, "__metadata__ is not an object");
    for (const auto& [key, text_value] : value.items()) {
      check(text_value.is_string(), path, "__metadata__ entry {} is not a string", show(key));
      header.metadata[key] = text_value.get<std::string>();
    }
  }
  header.data_begin = 8 + size;
  check_coverage(path, header.entries, reader.size() - header.data_begin);
  return header;
}

const Kind& kind_of(const Tensor& tensor, StoredFloats floats) {
  if (tensor.dtype() == Dtype::i64) return kI64;
  return floats == StoredFloats::f32 ? kF32 : floats == StoredFloats::f16 ? kF16 : kBf16;
}

}  // namespace

Safetensors read_safetensors(const fs::path& path) {
  const FileReader reader(path);
  Header header = read_header(path, reader);
  Safetensors contents;
  contents.metadata = std::move(header.metadata);
  const std::shared_ptr<uint8_t[]> mapped = reader.map();
  for (const Entry& entry : header.entries)
    contents.tensors[entry.name] = read_tensor(reader, mapped, entry, header.data_begin);
  return contents;
}

std::map<std::string, std::string> read_safetensors_metadata(const fs::path& path) {
  return read_header(path, FileReader(path)).metadata;
}

void write_safetensors(const fs::path& path, const Safetensors& contents, StoredFloats floats) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!contents.metadata.empty()) header[kMetadata] = contents.metadata;
  uint64_t offset = 0;
  for (const auto& [name, tensor] : contents.tensors) {
    require(name != kMetadata && tensor.rank() <= static_cast<int>(kMaxRank) && tensor,
            "cannot save tensor {} to {}: it is empty, of rank above {}, or has a reserved name",
            show(name), show(path), kMaxRank);
    const Kind& kind = kind_of(tensor, floats);
    const uint64_t size = static_cast<uint64_t>(tensor.numel()) * kind.size;
    auto& entry = header[name];
    entry["dtype"] = kind.name;
    entry["shape"] = tensor.shape();
    entry["data_offsets"] = {offset, offset + size};
    offset += size;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    fail("cannot save {}: a tensor name or metadata entry is not valid UTF-8", show(path));
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  require(text.size() <= kHeaderLimit,
          "cannot save {}: its header of {} bytes is over the limit {}", show(path), text.size(),
          kHeaderLimit);

  atomic_write(path, [&](FileSink& sink) {
    const uint64_t size = text.size();
    sink.write(&size, sizeof size);
    sink.write(text);
    for (const auto& [name, tensor] : contents.tensors) {
      const Bytes bytes = stored_bytes(name, tensor, floats);
      sink.write(bytes.data(), bytes.size());
    }
  });
}

}  // namespace diffscm::io
