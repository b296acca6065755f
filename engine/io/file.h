// Files as bytes: bounded reads of regular files, atomic writes, checksums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace diffscm::io {

using Bytes = std::vector<uint8_t>;

// Text from a file or a user inside an error message: in double quotes, unprintable bytes and those
// that are not UTF-8 as \xNN, cut after 80 bytes, so that a message stays one short line whatever a
// hostile file holds.
std::string show(std::string_view text);
std::string show(const std::string& text);
std::string show(const char* text);
std::string show(const std::filesystem::path& path);

bool is_utf8(std::string_view text);
// The text with bytes that are not UTF-8 as \xNN: what JSON accepts.
std::string as_utf8(std::string_view text);

// A regular file open for reading at any offset. Refuses directories, pipes and devices.
class FileReader {
 public:
  explicit FileReader(const std::filesystem::path& path);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  uint64_t size() const { return size_; }
  // Fills `out` from `offset`. Throws when the file ends before.
  void read(uint64_t offset, std::span<uint8_t> out) const;
  // The file's bytes where memory shows them, read when they are looked at; they stay after the
  // reader has gone, even when another file takes the name. What is written there stays in memory.
  std::shared_ptr<uint8_t[]> map() const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

// Of this process now; 0 where the system does not say.
double resident_bytes();

// The machine's memory, or as much of it as its container may take.
uint64_t machine_memory();

// Memory of a mapped file need not keep whole pages of [begin, begin + size): they are read again
// when they are looked at. What was written there is lost.
void drop_pages(const void* begin, size_t size);

constexpr uint64_t kReadLimit = uint64_t{4} << 30;

// The whole file. Throws when it is longer than `limit` bytes.
Bytes read_file(const std::filesystem::path& path, uint64_t limit = kReadLimit);

// What lies in a folder, in order of name.
std::vector<std::filesystem::path> list_folder(const std::filesystem::path& folder);

// Receives the bytes of a file being written. Throws Error on the first failed write.
class FileSink {
 public:
  FileSink(const std::filesystem::path& path, int descriptor);
  void write(const void* data, size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }

 private:
  std::filesystem::path path_;
  int descriptor_;
};

// Replaces `path` by what `fill` writes, all or nothing: a temporary file in the same folder,
// fsync, rename, fsync of the folder. When anything throws, the old file is as it was and the
// temporary file is gone. The folder must exist.
void atomic_write(const std::filesystem::path& path, const std::function<void(FileSink&)>& fill);
void atomic_write(const std::filesystem::path& path, std::span<const uint8_t> bytes);
void atomic_write(const std::filesystem::path& path, std::string_view text);

// 64 lower-case hexadecimal digits.
std::string sha256(std::span<const uint8_t> bytes);
std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace diffscm::io
