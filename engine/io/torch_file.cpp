#include "engine/io/torch_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <string_view>

#include "engine/io/file.h"
#include "engine/io/half.h"
#include "engine/io/pickle.h"
#include "engine/io/zip_archive.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

namespace fs = std::filesystem;
using Kind = Pickle::Kind;
using Value = Pickle::Value;

constexpr uint64_t kPickleLimit = 8 << 20;
constexpr uint64_t kMemorySlack = 64 << 20;
constexpr size_t kMaxRank = 8, kMaxDepth = 16;

enum class Element { f32, f64, f16, bf16, i64, i32, i16, i8, u8 };

struct ElementType {
  std::string_view storage;  // its class in Python
  Element element;
  int64_t size;
  bool is_floating() const { return element <= Element::bf16; }
};
constexpr ElementType kElementTypes[] = {
    {"torch.FloatStorage", Element::f32, 4}, {"torch.DoubleStorage", Element::f64, 8},
    {"torch.HalfStorage", Element::f16, 2},  {"torch.BFloat16Storage", Element::bf16, 2},
    {"torch.LongStorage", Element::i64, 8},  {"torch.IntStorage", Element::i32, 4},
    {"torch.ShortStorage", Element::i16, 2}, {"torch.CharStorage", Element::i8, 1},
    {"torch.ByteStorage", Element::u8, 1},   {"torch.BoolStorage", Element::u8, 1},
};
constexpr std::string_view kRebuildTensor = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view kRebuildOldTensor = "torch._utils._rebuild_tensor";
constexpr std::string_view kRebuildParameter = "torch._utils._rebuild_parameter";

constexpr auto kGlobals = [] {
  std::array<std::string_view, std::size(kElementTypes) + 3> names;
  names[0] = kRebuildTensor;
  names[1] = kRebuildOldTensor;
  names[2] = kRebuildParameter;
  for (size_t i = 0; i < std::size(kElementTypes); ++i) names[i + 3] = kElementTypes[i].storage;
  return names;
}();

template <class... A>
void check(bool ok, const std::string& where, fmt::format_string<A...> format, A&&... args) {
  if (!ok) [[unlikely]]
    fail("{} is not a PyTorch file that diffscm reads: {}", where,
         fmt::format(format, std::forward<A>(args)...));
}

struct Storage {
  const ElementType* type = nullptr;
  int64_t numel = 0;
  const ZipReader::Entry* entry = nullptr;  // of a zip archive
  uint64_t offset = 0;                      // of a row of pickles
  uint64_t bytes() const { return static_cast<uint64_t>(numel * type->size); }
};

// ('storage', class, key, device, numel[, view])
std::pair<std::string, Storage> parse_storage(const Pickle& pickle, const Value& persistent,
                                              const std::string& where) {
  const Value& id = pickle.at(persistent.items[0]);
  check(id.kind == Kind::tuple && (id.items.size() == 5 || id.items.size() == 6), where,
        "a storage is not described by five or six entries");
  const auto part = [&](size_t i) -> const Value& { return pickle.at(id.items[i]); };
  check(part(0).text == "storage" && part(2).kind == Kind::text && part(4).kind == Kind::integer,
        where, "a storage is not described as PyTorch does");
  check(id.items.size() == 5 || part(5).kind == Kind::none, where,
        "storage {} is a part of another, as PyTorch 0.4 wrote them", show(part(2).text));
  Storage storage;
  for (const ElementType& type : kElementTypes)
    if (part(1).kind == Kind::global && part(1).text == type.storage) storage.type = &type;
  check(storage.type != nullptr, where, "storage {} is of an unknown type {}", show(part(2).text),
        show(part(1).text));
  storage.numel = part(4).integer;
  check(storage.numel >= 0 && storage.numel <= INT64_MAX / 16, where, "storage {} has {} elements",
        show(part(2).text), storage.numel);
  return {part(2).text, storage};
}

std::vector<int64_t> parse_sizes(const Pickle& pickle, const Value& tuple, const std::string& name,
                                 const std::string& where) {
  std::vector<int64_t> sizes;
  check(tuple.kind == Kind::tuple && tuple.items.size() <= kMaxRank, where,
        "the shape of tensor {} is not a tuple of at most {} sizes", show(name), kMaxRank);
  for (const uint32_t item : tuple.items) {
    const Value& size = pickle.at(item);
    check(size.kind == Kind::integer && size.integer >= 0, where,
          "tensor {} has a size or stride that is no whole number from 0", show(name));
    sizes.push_back(size.integer);
  }
  return sizes;
}

// _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)
TorchView parse_tensor(const Pickle& pickle, const Value& call, const std::string& name,
                       const std::map<std::string, Storage>& storages, const std::string& where) {
  const Value& function = pickle.at(call.items[0]);
  const Value& arguments = pickle.at(call.items[1]);
  const auto argument = [&](size_t i) -> const Value& { return pickle.at(arguments.items[i]); };
  if (function.text == kRebuildParameter) {  // (tensor, requires_grad, hooks)
    check(!arguments.items.empty() && argument(0).kind == Kind::call &&
              pickle.at(argument(0).items[0]).text != kRebuildParameter,
          where, "parameter {} holds no tensor", show(name));
    return parse_tensor(pickle, argument(0), name, storages, where);
  }
  check(function.text == kRebuildTensor || function.text == kRebuildOldTensor, where,
        "tensor {} is made by {}", show(name), show(function.text));
  check(arguments.items.size() >= 4 && argument(0).kind == Kind::persistent &&
            argument(1).kind == Kind::integer && argument(1).integer >= 0,
        where, "tensor {} is not described as PyTorch does", show(name));
  TorchView view;
  view.storage = parse_storage(pickle, argument(0), where).first;
  view.offset = argument(1).integer;
  view.shape = parse_sizes(pickle, argument(2), name, where);
  view.strides = parse_sizes(pickle, argument(3), name, where);
  check(view.shape.size() == view.strides.size(), where, "tensor {} has {} sizes and {} strides",
        show(name), view.shape.size(), view.strides.size());

  int64_t last = view.offset, count = 1;  // the last element's place; a zero hides no overflow
  bool fits = true, empty = false;
  for (size_t i = 0; i < view.shape.size(); ++i) {
    if (view.shape[i] <= 1) view.strides[i] = 0;  // says nothing
    int64_t reach = 0;
    const int64_t size = std::max<int64_t>(view.shape[i], 1);
    fits = fits && !__builtin_mul_overflow(size - 1, view.strides[i], &reach) &&
           !__builtin_add_overflow(last, reach, &last) &&
           !__builtin_mul_overflow(count, size, &count);
    empty |= view.shape[i] == 0;
  }
  check(count <= std::numeric_limits<int64_t>::max() / 16, where,
        "tensor {} of shape {} is too large", show(name), to_string(view.shape));
  const int64_t numel = storages.at(view.storage).numel;
  check(fits && (empty || last < numel), where,
        "tensor {} of shape {} reaches beyond its storage of {} elements", show(name),
        to_string(view.shape), numel);
  return view;
}

// The elements of the view in C order, of type T in the storage `raw`.
template <class T, class To, class Convert>
void gather(const TorchView& view, int64_t count, std::span<const uint8_t> raw, To* out,
            Convert convert) {
  std::vector<int64_t> index(view.shape.size());
  int64_t place = view.offset;
  for (int64_t n = 0; n < count; ++n) {
    T value;
    std::memcpy(&value, raw.data() + static_cast<size_t>(place) * sizeof(T), sizeof(T));
    out[n] = static_cast<To>(convert(value));
    for (size_t d = index.size(); d-- > 0;) {
      place += view.strides[d];
      if (++index[d] < view.shape[d]) break;
      place -= view.strides[d] * view.shape[d];
      index[d] = 0;
    }
  }
}

void gather(const TorchView& view, Element element, std::span<const uint8_t> raw, Tensor& tensor) {
  const auto floats = [&]<class T>(T, auto convert) {
    gather<T>(view, tensor.numel(), raw, tensor.mutable_data(), convert);
  };
  const auto ints = [&]<class T>(T) {
    gather<T>(view, tensor.numel(), raw, tensor.mutable_data_i64(), std::identity());
  };
  switch (element) {
    case Element::f32:
      return floats(float{}, std::identity());
    case Element::f64:
      return floats(double{}, std::identity());
    case Element::f16:
      return floats(uint16_t{}, float_of_half);
    case Element::bf16:
      return floats(uint16_t{}, float_of_bfloat16);
    case Element::i64:
      return ints(int64_t{});
    case Element::i32:
      return ints(int32_t{});
    case Element::i16:
      return ints(int16_t{});
    case Element::i8:
      return ints(int8_t{});
    case Element::u8:
      return ints(uint8_t{});
  }
}

bool is_contiguous(const TorchView& view) {
  int64_t expected = 1;
  for (size_t d = view.shape.size(); d-- > 0;) {
    if (view.shape[d] > 1 && view.strides[d] != expected) return false;
    expected *= view.shape[d];
  }
  return true;
}

// Every dictionary below `value` that holds tensors, each once however often it is referred to.
void find_state_dicts(const Pickle& pickle, const Value& value, const std::string& path,
                      const std::map<std::string, Storage>& storages, const std::string& where,
                      size_t depth, std::set<const Value*>& seen,
                      std::map<std::string, TorchFile::StateDict>& found) {
  if (value.kind != Kind::dict || depth > kMaxDepth || !seen.insert(&value).second) return;
  TorchFile::StateDict tensors;
  for (size_t i = 0; i + 1 < value.items.size(); i += 2) {
    const Value &key = pickle.at(value.items[i]), &item = pickle.at(value.items[i + 1]);
    if (key.kind != Kind::text) continue;
    if (item.kind == Kind::call) {
      const bool added =
          tensors.emplace(key.text, parse_tensor(pickle, item, key.text, storages, where)).second;
      check(added, where, "tensor {} appears twice", show(key.text));
    } else {
      find_state_dicts(pickle, item, path.empty() ? key.text : path + "." + key.text, storages,
                       where, depth + 1, seen, found);
    }
  }
  if (tensors.empty()) return;
  check(found.emplace(path, std::move(tensors)).second, where, "{} appears twice", show(path));
}

}  // namespace

struct TorchFile::Storages {
  explicit Storages(const fs::path& path) : reader(path), where(show(path)) {}

  // Each reads the structure and finds where the storages lie that it names.
  void open_archive(const fs::path& path, std::map<std::string, StateDict>& state_dicts);
  void open_stream(std::map<std::string, StateDict>& state_dicts);
  void parse(const Pickle& pickle, std::map<std::string, StateDict>& state_dicts);
  void read(const Storage& storage, std::span<uint8_t> out) const {
    if (storage.entry != nullptr)
      archive->read(*storage.entry, out);
    else
      reader.read(storage.offset, out);
  }

  FileReader reader;
  std::string where;
  std::optional<ZipReader> archive;
  std::map<std::string, Storage> by_key;
};

void TorchFile::Storages::parse(const Pickle& pickle,
                                std::map<std::string, StateDict>& state_dicts) {
  for (const Value& value : pickle.values()) {
    if (value.kind != Kind::persistent) continue;
    const auto [key, storage] = parse_storage(pickle, value, where);
    const Storage& known = by_key.emplace(key, storage).first->second;
    check(known.type == storage.type && known.numel == storage.numel, where,
          "storage {} is described in two ways", show(key));
  }
  std::set<const Value*> seen;
  find_state_dicts(pickle, pickle.root(), "", by_key, where, 0, seen, state_dicts);
}

// NAME/data.pkl is the structure, NAME/data/KEY each storage.
void TorchFile::Storages::open_archive(const fs::path& path,
                                       std::map<std::string, StateDict>& state_dicts) {
  archive.emplace(path, ".pt", "record");
  constexpr std::string_view kStructure = "data.pkl";
  std::map<std::string, const ZipReader::Entry*> records;
  std::string folder;
  for (const ZipReader::Entry& entry : archive->entries()) {
    check(records.emplace(entry.name, &entry).second, where, "record {} appears twice",
          show(entry.name));
    if (entry.name.ends_with(kStructure) && std::ranges::count(entry.name, '/') == 1)
      folder = entry.name.substr(0, entry.name.size() - kStructure.size());
  }
  const auto structure = records.find(folder + std::string(kStructure));
  check(structure != records.end(), where, "it has no record NAME/data.pkl");
  check(structure->second->size <= kPickleLimit, where,
        "its data.pkl has {} bytes, the limit is {}", structure->second->size, kPickleLimit);
  if (const auto order = records.find(folder + "byteorder"); order != records.end()) {
    check(order->second->size == 6, where, "its bytes are not in little-endian order");
    const Bytes text = archive->read(*order->second);
    check(std::ranges::equal(text, std::string_view("little")), where,
          "its bytes are not in little-endian order");
  }
  parse(Pickle(archive->read(*structure->second), kGlobals, structure->second->where), state_dicts);
  for (auto& [key, storage] : by_key) {
    const auto record = records.find(folder + "data/" + key);
    if (storage.numel == 0) continue;
    check(record != records.end(), where, "it has no record for storage {}", show(key));
    check(record->second->stored && record->second->size == storage.bytes(), where,
          "storage {} needs {} bytes, stored as they are; its record has {}", show(key),
          storage.bytes(), record->second->size);
    storage.entry = record->second;
  }
}

// Five pickles: a magic number, the format's version, the machine, the structure, the keys of the
// storages; then by key the number of elements and their bytes.
void TorchFile::Storages::open_stream(std::map<std::string, StateDict>& state_dicts) {
  Bytes head(std::min(reader.size(), kPickleLimit));
  reader.read(0, head);
  uint64_t position = 0;
  const auto next = [&] {
    Pickle pickle(std::span<const uint8_t>(head).subspan(position), kGlobals, where);
    position += pickle.size();
    return pickle;
  };
  constexpr std::string_view kMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  const Pickle magic = next();
  check(magic.root().kind == Kind::big && magic.root().text == kMagic, where,
        "it is a pickle of something else");
  const Pickle version = next();
  check(version.root().kind == Kind::integer && version.root().integer == 1001, where,
        "it is of a version other than 1001");
  const Pickle machine = next();
  for (size_t i = 0; machine.root().kind == Kind::dict && i + 1 < machine.root().items.size();
       i += 2)
    check(machine.at(machine.root().items[i]).text != "little_endian" ||
              machine.at(machine.root().items[i + 1]).integer == 1,
          where, "its bytes are not in little-endian order");
  parse(next(), state_dicts);
  const Pickle keys = next();
  check(keys.root().kind == Kind::list && keys.root().items.size() == by_key.size(), where,
        "it lists other storages than its tensors have");
  std::set<std::string> listed;
  for (const uint32_t item : keys.root().items) {
    const std::string& key = keys.at(item).text;
    const auto found = by_key.find(key);
    check(found != by_key.end() && listed.insert(key).second, where,
          "it lists other storages than its tensors have");
    Storage& storage = found->second;
    check(reader.size() - position >= 8, where, "it is cut short");
    int64_t numel = 0;
    reader.read(position, {reinterpret_cast<uint8_t*>(&numel), sizeof numel});
    check(numel == storage.numel, where, "storage {} has {} elements, its tensors need {}",
          show(key), numel, storage.numel);
    storage.offset = position + 8;
    check(storage.bytes() <= reader.size() - storage.offset, where,
          "storage {} of {} bytes is cut short", show(key), storage.bytes());
    position = storage.offset + storage.bytes();
  }
  check(position == reader.size(), where, "{} bytes follow its last storage",
        reader.size() - position);
}

TorchFile::TorchFile(const fs::path& path) : storages_(std::make_unique<Storages>(path)) {
  Bytes head(std::min<uint64_t>(storages_->reader.size(), 2));
  storages_->reader.read(0, head);
  const std::string_view magic(reinterpret_cast<const char*>(head.data()), head.size());
  check(magic == "PK" || magic.starts_with('\x80'), storages_->where,
        "it begins neither as a zip archive nor as a pickle");
  if (magic == "PK")
    storages_->open_archive(path, state_dicts_);
  else
    storages_->open_stream(state_dicts_);
}

TorchFile::~TorchFile() = default;

std::map<std::string, Tensor> TorchFile::read(const std::string& state_dict) const {
  const std::string& where = storages_->where;
  const auto found = state_dicts_.find(state_dict);
  require(found != state_dicts_.end(), "{} has no tensors under {}", where, show(state_dict));
  std::map<std::string, std::vector<const StateDict::value_type*>> by_storage;
  uint64_t total = 0;
  for (const auto& entry : found->second) {
    by_storage[entry.second.storage].push_back(&entry);
    const ElementType& type = *storages_->by_key.at(entry.second.storage).type;
    const auto bytes = static_cast<uint64_t>(type.is_floating() ? type.size : 8);
    uint64_t tensor = 0;
    check(
        !__builtin_mul_overflow(static_cast<uint64_t>(numel(entry.second.shape)), bytes, &tensor) &&
            !__builtin_add_overflow(total, tensor, &total) &&
            total <= storages_->reader.size() + kMemorySlack,
        where, "its tensors ask for far more bytes than it has ({})", storages_->reader.size());
  }
  std::map<std::string, Tensor> tensors;
  for (const auto& [key, entries] : by_storage) {
    const Storage& storage = storages_->by_key.at(key);
    const ElementType& type = *storage.type;
    Bytes raw;
    for (const auto* entry : entries) {
      const auto& [name, view] = *entry;
      Tensor tensor(view.shape, Target::cpu, type.is_floating() ? Dtype::f32 : Dtype::i64);
      if (type.element == Element::f32 && entries.size() == 1 && is_contiguous(view) &&
          tensor.numel() == storage.numel) {  // the storage is the tensor
        if (storage.numel > 0)
          storages_->read(storage,
                          {reinterpret_cast<uint8_t*>(tensor.mutable_data()), storage.bytes()});
      } else if (tensor.numel() > 0) {
        if (raw.empty()) {
          raw.resize(storage.bytes());
          storages_->read(storage, raw);
        }
        gather(view, type.element, raw, tensor);
      }
      tensors.emplace(name, std::move(tensor));
    }
  }
  return tensors;
}

}  // namespace diffscm::io
