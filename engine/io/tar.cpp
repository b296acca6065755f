#include "engine/io/tar.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "kernels/error.h"

namespace diffscm::io {
namespace {

namespace fs = std::filesystem;

// What libarchive reads from: an open file from an offset on.
struct Source {
  const FileReader& file;
  uint64_t at;
  std::vector<uint8_t> block;
  std::string message;
};

la_ssize_t read_block(archive* archive, void* pointer, const void** block) {
  auto& source = *static_cast<Source*>(pointer);
  try {
    const uint64_t left = source.file.size() - std::min(source.at, source.file.size());
    const std::span<uint8_t> part(source.block.data(),
                                  std::min<uint64_t>(left, source.block.size()));
    source.file.read(source.at, part);
    source.at += part.size();
    *block = part.data();
    return static_cast<la_ssize_t>(part.size());
  } catch (const Error& error) {
    source.message = error.what();  // no exception may pass through C
    archive_set_error(archive, EIO, "%s", error.what());
    return -1;
  }
}

la_int64_t skip(archive*, void* pointer, la_int64_t bytes) {
  auto& source = *static_cast<Source*>(pointer);
  const auto left =
      static_cast<la_int64_t>(source.file.size() - std::min(source.at, source.file.size()));
  bytes = std::min(bytes, left);
  source.at += static_cast<uint64_t>(bytes);
  return bytes;
}

// An archive from the header of one of its members on.
class Archive {
 public:
  Archive(const FileReader& file, uint64_t header, size_t block, std::string_view where)
      : source_{file, header, std::vector<uint8_t>(block), {}},
        where_(where),
        archive_(archive_read_new(), archive_read_free) {
    require(archive_ != nullptr, "libarchive cannot start");
    // No filter: members of a compressed archive cannot be found again.
    check(archive_read_support_format_tar(archive_.get()));
    check(archive_read_open2(archive_.get(), &source_, nullptr, read_block, skip, nullptr));
  }

  // The next member; null at the end.
  archive_entry* next() {
    archive_entry* entry = nullptr;
    const int result = archive_read_next_header(archive_.get(), &entry);
    if (result == ARCHIVE_EOF) return nullptr;
    if (result != ARCHIVE_WARN) check(result);  // of a name that this locale cannot show
    return entry;
  }
  uint64_t header() const {
    return static_cast<uint64_t>(archive_read_header_position(archive_.get()));
  }
  // Those of the present member.
  Bytes bytes(uint64_t size) {
    require(size <= source_.file.size(), "{} is damaged: a member of {} bytes in a file of {}",
            where_, size, source_.file.size());
    Bytes bytes(size);
    size_t done = 0;
    while (done < bytes.size()) {
      const la_ssize_t got =
          archive_read_data(archive_.get(), bytes.data() + done, bytes.size() - done);
      if (got < 0) check(static_cast<int>(got));
      require(got > 0, "{} is damaged: {} of a member's {} bytes are there", where_, done, size);
      done += static_cast<size_t>(got);
    }
    return bytes;
  }

 private:
  void check(int result) const {
    if (result == ARCHIVE_OK) return;
    const char* text = archive_error_string(archive_.get());
    fail("{} is no tar archive, or a damaged one: {}", where_,
         show(text ? text : "libarchive gives no reason"));
  }

  Source source_;
  std::string_view where_;
  std::unique_ptr<archive, int (*)(archive*)> archive_;
};

bool is_compressed(const FileReader& file) {
  std::vector<uint8_t> begin(std::min<uint64_t>(file.size(), 6));
  file.read(0, begin);
  const std::string_view text(reinterpret_cast<const char*>(begin.data()), begin.size());
  return text.starts_with("\x1f\x8b") || text.starts_with("BZh") ||
         text.starts_with(
             "\xfd"
             "7zXZ") ||
         text.starts_with("\x28\xb5\x2f\xfd");
}

}  // namespace

void list_tar(const fs::path& path,
              const std::function<void(const TarMember&, const ReadMember& read)>& visit) {
  const FileReader file(path);
  const std::string where = show(path);
  require(!is_compressed(file),
          "{} is compressed, so that images cannot be found in it: unpack it to a plain .tar first",
          where);
  require(file.size() > 0, "{} is empty", where);
  Archive archive(file, 0, size_t{1} << 16, where);
  while (archive_entry* entry = archive.next()) {
    const char* name = archive_entry_pathname(entry);
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) || !name)
      continue;
    require(archive_entry_size(entry) >= 0, "{} is damaged: a member of negative size", where);
    const TarMember member{name, archive.header(),
                           static_cast<uint64_t>(archive_entry_size(entry))};
    require(member.bytes <= file.size(), "{} is damaged: a member of {} bytes in a file of {}",
            where, member.bytes, file.size());
    visit(member, [&] { return archive.bytes(member.bytes); });
  }
}

Bytes read_tar_member(const FileReader& file, const TarMember& member, std::string_view where) {
  Archive archive(file, member.header, size_t{1} << 14, where);
  archive_entry* entry = archive.next();
  require(entry && archive_entry_size(entry) == static_cast<la_int64_t>(member.bytes),
          "{} has changed since it was listed", where);
  return archive.bytes(member.bytes);
}

}  // namespace diffscm::io
