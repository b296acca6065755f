#include "data/picture_store.h"

#include "kernels/error.h"

namespace diffscm::data {
namespace {

constexpr uint64_t kFileLimit = uint64_t{1} << 28;

}  // namespace

void FolderFiles::add(std::string_view relative) {
  text_ += relative;
  begin_.push_back(text_.size());
}

std::string_view FolderFiles::relative(int64_t i) const {
  const auto at = static_cast<size_t>(i);
  return std::string_view(text_).substr(begin_.at(at), begin_.at(at + 1) - begin_[at]);
}

std::string_view FolderFiles::name(int64_t i) const {
  const std::string_view whole = relative(i);
  return whole.substr(whole.rfind('/') + 1);
}

uint64_t FolderFiles::length(int64_t i) const {
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(path(i), error);
  if (error) fail("cannot read {}: {}", where(i), error.message());
  return bytes;
}

io::Bytes FolderFiles::read(int64_t i) const {
  return io::read_file(path(i), kFileLimit);
}

}  // namespace diffscm::data
