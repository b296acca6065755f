#include "kernels/softgpu/cubin.h"

#include <elf.h>

#include <cstring>
#include <span>
#include <vector>

#include "kernels/error.h"

namespace diffscm::softgpu {
namespace {

constexpr uint8_t kSizedValue = 4;  // format of an attribute with a payload
constexpr uint8_t kMinStackSize = 0x12, kRegisterCount = 0x2f;

class Elf {
 public:
  explicit Elf(std::string_view bytes) : bytes_(bytes) {
    const auto header = at<Elf64_Ehdr>(0);
    require(bytes.starts_with(ELFMAG) && header.e_ident[EI_CLASS] == ELFCLASS64 &&
                header.e_machine == EM_CUDA,
            "cubin: this is no 64-bit ELF file of machine code for a GPU");
    for (size_t i = 0; i < header.e_shnum; ++i)
      sections_.push_back(at<Elf64_Shdr>(header.e_shoff + i * sizeof(Elf64_Shdr)));
    require(header.e_shstrndx < sections_.size(), "cubin: it has no names of sections");
    names_ = &sections_[header.e_shstrndx];
  }

  std::span<const Elf64_Shdr> sections() const { return sections_; }
  std::string_view name(const Elf64_Shdr& s) const { return text(*names_, s.sh_name); }

  // Of symbol `index` in the table that `section` refers to.
  std::string_view symbol(const Elf64_Shdr& section, uint32_t index) const {
    const Elf64_Shdr& table = linked(section);
    const auto symbol = at<Elf64_Sym>(table.sh_offset + index * sizeof(Elf64_Sym));
    return text(linked(table), symbol.st_name);
  }

  template <class T>
  T at(size_t offset) const {
    require(offset <= bytes_.size() && sizeof(T) <= bytes_.size() - offset, "cubin: it is cut off");
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof value);
    return value;
  }

 private:
  const Elf64_Shdr& linked(const Elf64_Shdr& section) const {
    require(section.sh_link < sections_.size(), "cubin: a section refers to none");
    return sections_[section.sh_link];
  }
  std::string_view text(const Elf64_Shdr& table, size_t offset) const {
    const size_t begin = table.sh_offset + offset;
    const size_t end = begin < bytes_.size() ? bytes_.find('\0', begin) : bytes_.npos;
    require(end != bytes_.npos, "cubin: a name is cut off");
    return bytes_.substr(begin, end - begin);
  }

  std::string_view bytes_;
  std::vector<Elf64_Shdr> sections_;
  const Elf64_Shdr* names_ = nullptr;
};

// Calls use(symbol, attribute, value) for each attribute that is a pair of numbers.
template <class F>
void each_attribute(const Elf& elf, const Elf64_Shdr& info, F use) {
  const size_t end = info.sh_offset + info.sh_size;
  for (size_t at = info.sh_offset; at + 4 <= end;) {
    const auto format = elf.at<uint8_t>(at), attribute = elf.at<uint8_t>(at + 1);
    const size_t bytes = format == kSizedValue ? elf.at<uint16_t>(at + 2) : 0;
    if (bytes == 8)
      use(elf.symbol(info, elf.at<uint32_t>(at + 4)), attribute, elf.at<uint32_t>(at + 8));
    at += 4 + bytes;
  }
}

}  // namespace

std::map<std::string, KernelResources, std::less<>> read_cubin(std::string_view bytes) {
  const Elf elf(bytes);
  std::map<std::string, KernelResources, std::less<>> kernels;
  for (const Elf64_Shdr& section : elf.sections()) {
    if (elf.name(section) != ".nv.info") continue;
    each_attribute(elf, section, [&](std::string_view name, uint8_t attribute, uint32_t value) {
      if (attribute == kRegisterCount)
        kernels[std::string(name)].registers = static_cast<int>(value);
      if (attribute == kMinStackSize) kernels[std::string(name)].local_bytes = value;
    });
  }
  return kernels;
}

}  // namespace diffscm::softgpu
