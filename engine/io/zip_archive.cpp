#include "engine/io/zip_archive.h"

#include <zip.h>

#include <algorithm>
#include <string_view>

#include "kernels/error.h"

namespace diffscm::io {
namespace {

namespace fs = std::filesystem;

constexpr zip_int64_t kMaxEntries = 10000;
constexpr uint64_t kEntryLimit = uint64_t{8} << 30;
// No deflate stream expands by more (zlib's technical notes: 1032:1); the slack is for empty
// streams.
constexpr uint64_t kDeflateLimit = 1032, kDeflateSlack = 1032;

using Archive = std::unique_ptr<zip_t, void (*)(zip_t*)>;
using ZipFile = std::unique_ptr<zip_file_t, int (*)(zip_file_t*)>;

Archive open_archive(const fs::path& path, const char* what) {
  const FileReader probe(path);  // libzip's own message for a folder or pipe is unclear
  int code = 0;
  Archive archive(zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code), zip_discard);
  if (!archive) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string message = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail("{} is not a valid {} archive: {}", show(path), what, message);
  }
  return archive;
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

ZipReader::ZipReader(const fs::path& path, const char* what, const char* kind)
    : archive_(open_archive(path, what)) {
  const uint64_t file_size = FileReader(path).size();
  const zip_int64_t count = zip_get_num_entries(archive_.get(), 0);
  require(count >= 0 && count <= kMaxEntries, "{} has {} entries, the limit is {}", show(path),
          count, kMaxEntries);
  uint64_t compressed_total = 0;  // entries that overlap (a "zip bomb") would exceed the file
  for (zip_uint64_t i = 0; i < static_cast<zip_uint64_t>(count); ++i) {
    zip_stat_t stat;
    constexpr zip_uint64_t kNeeded = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
                                     ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    require(zip_stat_index(archive_.get(), i, 0, &stat) == 0 && (stat.valid & kNeeded) == kNeeded,
            "{}: entry {} is corrupt", show(path), i);
    std::string where = fmt::format("{}, {} {}", show(path), kind, show(stat.name));
    const bool stored = stat.comp_method == ZIP_CM_STORE;
    compressed_total += std::min(stat.comp_size, file_size + 1);
    require(
        compressed_total <= file_size && stat.size <= kEntryLimit &&
            stat.size <= (stored ? stat.comp_size : stat.comp_size * kDeflateLimit + kDeflateSlack),
        "{} claims {} bytes, more than the archive can hold", where, stat.size);
    const bool readable =
        stat.encryption_method == ZIP_EM_NONE && (stored || stat.comp_method == ZIP_CM_DEFLATE);
    entries_.push_back({i, stat.name, std::move(where), stat.size, stored, readable});
  }
}

void ZipReader::read(const Entry& entry,
                     const std::function<void(std::span<const uint8_t>)>& piece) const {
  const std::string& where = entry.where;
  require(entry.readable, "{} is encrypted or compressed by a method other than deflate", where);
  const ZipFile file(zip_fopen_index(archive_.get(), entry.index, 0), zip_fclose);
  require(file != nullptr, "{} cannot be read: {}", where, zip_strerror(archive_.get()));
  uint64_t done = 0;
  constexpr uint64_t kPiece = uint64_t{1} << 20;
  Bytes buffer(std::min(entry.size, kPiece - 1) + 1);
  while (true) {  // beyond the end: libzip compares the checksum there
    const zip_int64_t got = zip_fread(file.get(), buffer.data(), buffer.size());
    require(got >= 0, "{} is corrupt: {}", where, zip_file_strerror(file.get()));
    if (got == 0) break;
    done += static_cast<uint64_t>(got);
    require(done <= entry.size, "{} is longer than it claims", where);
    piece({buffer.data(), static_cast<size_t>(got)});
  }
  require(done == entry.size, "{} is shorter than it claims", where);
}

void ZipReader::read(const Entry& entry, std::span<uint8_t> out) const {
  read(entry, [&](std::span<const uint8_t> piece) {
    std::ranges::copy(piece, out.begin());
    out = out.subspan(piece.size());
  });
}

Bytes ZipReader::read(const Entry& entry) const {
  Bytes bytes(entry.size);
  read(entry, bytes);
  return bytes;
}

void write_zip(const fs::path& path, std::span<const ZipEntry> entries) {
  if (entries.empty()) {
    // libzip writes nothing for an empty archive; readers take a bare end record.
    constexpr char kEmpty[] = "PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    return atomic_write(path, std::string_view(kEmpty, 22));
  }
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
  for (const ZipEntry& entry : entries) {  // libzip reads their bytes when the archive is closed
    std::vector<zip_buffer_fragment_t> fragments;
    for (const std::span<const uint8_t> part : entry.parts)
      // libzip takes a pointer to what it may free, and is told not to.
      fragments.push_back({const_cast<zip_uint8_t*>(part.data()), part.size()});
    zip_source_t* source =
        zip_source_buffer_fragment(archive, fragments.data(), fragments.size(), 0);
    const zip_int64_t index =
        source ? zip_file_add(archive, entry.name.c_str(), source, ZIP_FL_ENC_UTF_8) : -1;
    if (index < 0 && source) zip_source_free(source);
    require(index >= 0, "cannot add {} to {}: {}", show(entry.name), show(path),
            zip_strerror(archive));
    const auto added = static_cast<zip_uint64_t>(index);
    zip_set_file_compression(archive, added, ZIP_CM_STORE, 0);
    constexpr zip_uint16_t kFirstOfJanuary1980 =
        1 << 5 | 1;  // the zip epoch: same bytes every time
    zip_file_set_dostime(archive, added, 0, kFirstOfJanuary1980, 0);
  }
  if (zip_close(archive) != 0) fail("cannot write {}: {}", show(path), zip_strerror(archive));
  (void)guard.release();  // zip_close freed it
  atomic_write(path, [&](FileSink& sink) { write_source(buffer.get(), sink); });
}

}  // namespace diffscm::io
