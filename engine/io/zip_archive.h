// Zip archives, which .npz and PyTorch's .pt files are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/io/file.h"

struct zip;

namespace diffscm::io {

// An archive open for reading. When it opens, the sizes that its entries claim are checked against
// the file, so that a small archive cannot ask for a large amount of memory.
class ZipReader {
 public:
  struct Entry {
    uint64_t index;
    std::string name, where;  // `where`: the file and the entry, for messages
    uint64_t size;            // uncompressed
    bool stored;              // not compressed
    bool readable;            // neither encrypted nor compressed by a method other than deflate
  };

  // For messages, `what` the archive is (".npz") and an entry of it ("array").
  ZipReader(const std::filesystem::path& path, const char* what, const char* entry);

  // In the order of the archive. Names may repeat.
  const std::vector<Entry>& entries() const { return entries_; }
  // The entry's bytes piece by piece, in order; the checksum is compared at the end.
  void read(const Entry& entry, const std::function<void(std::span<const uint8_t>)>& piece) const;
  // Fills `out`, of entry.size bytes, and compares the checksum.
  void read(const Entry& entry, std::span<uint8_t> out) const;
  Bytes read(const Entry& entry) const;

 private:
  std::unique_ptr<zip, void (*)(zip*)> archive_;
  std::vector<Entry> entries_;
};

// An entry to write: its bytes are those of the parts, back to back.
struct ZipEntry {
  std::string name;
  std::vector<std::span<const uint8_t>> parts;
};

// Stored, atomic; the same entries give the same bytes. Takes as much memory as the file has bytes.
void write_zip(const std::filesystem::path& path, std::span<const ZipEntry> entries);

}  // namespace diffscm::io
