// Tar archives for tests: the product only reads them.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace diffscm::testing {

struct TarEntry {
  std::string name, bytes;
  unsigned type = AE_IFREG;  // or AE_IFDIR, AE_IFLNK (to `bytes`), AE_IFCHR
};

enum class TarFormat { ustar, gnu, pax };

inline std::string make_tar(const std::vector<TarEntry>& entries,
                            TarFormat format = TarFormat::ustar) {
  size_t most = size_t{1} << 16;
  for (const TarEntry& e : entries) most += e.name.size() + e.bytes.size() + 4096;
  std::string out(most, '\0');
  const std::unique_ptr<archive, int (*)(archive*)> writer(archive_write_new(), archive_write_free);
  (format == TarFormat::ustar ? archive_write_set_format_ustar
   : format == TarFormat::gnu ? archive_write_set_format_gnutar
                              : archive_write_set_format_pax)(writer.get());
  archive_write_set_bytes_in_last_block(writer.get(), 1);
  size_t used = 0;
  archive_write_open_memory(writer.get(), out.data(), out.size(), &used);
  for (const TarEntry& e : entries) {
    const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(),
                                                                         archive_entry_free);
    archive_entry_set_pathname(entry.get(), e.name.c_str());
    archive_entry_set_filetype(entry.get(), e.type);
    archive_entry_set_perm(entry.get(), 0644);
    const bool file = e.type == AE_IFREG;
    archive_entry_set_size(entry.get(), file ? static_cast<la_int64_t>(e.bytes.size()) : 0);
    if (e.type == AE_IFLNK) archive_entry_set_symlink(entry.get(), e.bytes.c_str());
    if (archive_write_header(writer.get(), entry.get()) != ARCHIVE_OK)
      throw std::runtime_error(archive_error_string(writer.get()));
    if (file) archive_write_data(writer.get(), e.bytes.data(), e.bytes.size());
  }
  archive_write_close(writer.get());
  out.resize(used);
  return out;
}

}  // namespace diffscm::testing
