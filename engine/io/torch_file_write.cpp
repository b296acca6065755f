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
    text_ += tensor.dtype() == Dtype::i64 ? "ctorch\nLongStorage\n" : "ctorch\nFloatStorage\n";
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

  std::string text_;
};

}  // namespace

void write_torch_file(const std::filesystem::path& path,
                      const std::map<std::string, Tensor>& tensors) {
  const auto bytes_of = [](std::string_view text) {
    return std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  for (const auto& [name, tensor] : tensors)
    require(
        is_utf8(name) && tensor && (tensor.dtype() == Dtype::f32 || tensor.dtype() == Dtype::i64),
        "cannot save tensor {} to {}: it is empty, neither of f32 nor of i64, or its name is "
        "not UTF-8",
        show(name), show(path));
  const std::string structure = StateDictPickler().pickle(tensors);
  std::vector<ZipEntry> entries{{"archive/data.pkl", {bytes_of(structure)}},
                                {"archive/byteorder", {bytes_of("little")}}};
  std::vector<Tensor> hosts;  // entries point into them
  for (const auto& [name, tensor] : tensors) {
    const Tensor& host = hosts.emplace_back(tensor.to(Target::cpu));
    const void* memory = host.dtype() == Dtype::i64 ? static_cast<const void*>(host.data_i64())
                                                    : static_cast<const void*>(host.data());
    entries.push_back({fmt::format("archive/data/{}", hosts.size() - 1),
                       {{static_cast<const uint8_t*>(memory),
                         static_cast<size_t>(host.numel() * size_of(host.dtype()))}}});
  }
  entries.push_back({"archive/version", {bytes_of("3\n")}});
  write_zip(path, entries);
}

}  // namespace diffscm::io
