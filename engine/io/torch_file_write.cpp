#include <list>
#include <string_view>
#include <vector>

#include "engine/io/torch_file.h"
#include "engine/io/zip_archive.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

// Writes the pickle, of protocol 2, of an OrderedDict of tensors (engine/io/pickle.cpp names the
// opcodes).
class StateDictPickler {
 public:
  explicit StateDictPickler(StoredFloats floats) : floats_(floats) {}

  std::string pickle(const std::map<std::string, Tensor>& tensors) {
    text_ = "\x80\x02";
    ordered_dict();
    text_ += '(';
    int64_t key = 0;
    for (const auto& [name, tensor] : tensors) {
      text(name);
      this->tensor(tensor, key++);
    }
    return text_ + "u.";
  }

 private:
  void ordered_dict() { text_ += "ccollections\nOrderedDict\n)R"; }
  void little_endian(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) text_ += static_cast<char>(value >> (8 * i) & 0xff);
  }
  void text(std::string_view value) {
    text_ += 'X';
    little_endian(value.size(), 4);
    text_ += value;
  }
  void integer(int64_t value) {  // from 0
    const bool small = value <= INT32_MAX;
    text_ += small ? "J" : "\x8a\x08";
    little_endian(static_cast<uint64_t>(value), small ? 4 : 8);
  }
  void integers(const std::vector<int64_t>& values) {
    text_ += '(';
    for (const int64_t value : values) integer(value);
    text_ += 't';
  }
  void tensor(const Tensor& tensor, int64_t key) {
    std::vector<int64_t> strides(tensor.shape().size(), 1);
    for (size_t d = strides.size(); d-- > 1;) strides[d - 1] = strides[d] * tensor.shape()[d];
    text_ += "ctorch._utils\n_rebuild_tensor_v2\n((";
    text("storage");
    text_ += fmt::format("ctorch\n{}Storage\n", tensor.dtype() == Dtype::i64   ? "Long"
                                                : floats_ == StoredFloats::f32 ? "Float"
                                                : floats_ == StoredFloats::f16 ? "Half"
                                                                               : "BFloat16");
    text(std::to_string(key));
    text("cpu");
    integer(tensor.numel());
    text_ += "tQ";
    integer(0);
    integers(tensor.shape());
    integers(strides);
    text_ += '\x89';  // requires no gradient
    ordered_dict();   // has no hooks
    text_ += "tR";
  }

  StoredFloats floats_;
  std::string text_;
};

}  // namespace

void write_torch_file(const std::filesystem::path& path,
                      const std::map<std::string, Tensor>& tensors, StoredFloats floats) {
  const auto bytes_of = [](std::string_view text) {
    return std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  for (const auto& [name, tensor] : tensors)
    require(
        is_utf8(name) && tensor && (tensor.dtype() == Dtype::f32 || tensor.dtype() == Dtype::i64),
        "cannot save tensor {} to {}: it is empty, neither of f32 nor of i64, or its name is "
        "not UTF-8",
        show(name), show(path));
  const std::string structure = StateDictPickler(floats).pickle(tensors);
  std::vector<ZipEntry> entries{{"archive/data.pkl", {bytes_of(structure)}},
                                {"archive/byteorder", {bytes_of("little")}}};
  // Entries point into these. Floats that stay f32 are not copied: a model may be large.
  std::vector<Tensor> hosts;
  std::list<Bytes> rounded;
  for (const auto& [name, tensor] : tensors) {
    const std::string storage = fmt::format("archive/data/{}", entries.size() - 2);
    if (floats != StoredFloats::f32 || tensor.dtype() == Dtype::i64) {
      entries.push_back({storage, {rounded.emplace_back(stored_bytes(name, tensor, floats))}});
      continue;
    }
    const Tensor& host = hosts.emplace_back(tensor.to(Target::cpu));
    entries.push_back({storage,
                       {{reinterpret_cast<const uint8_t*>(host.data()),
                         static_cast<size_t>(host.numel()) * sizeof(float)}}});
  }
  entries.push_back({"archive/version", {bytes_of("3\n")}});
  write_zip(path, entries);
}

}  // namespace diffscm::io
