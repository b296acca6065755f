// Where the files of a data set's pictures lie.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/file.h"

namespace diffscm::data {

// Files in a fixed order. All functions may be called from any thread.
class PictureStore {
 public:
  virtual ~PictureStore() = default;
  virtual int64_t size() const = 0;
  // Without folders: what tables of labels call it.
  virtual std::string_view name(int64_t i) const = 0;
  virtual std::string where(int64_t i) const = 0;  // for messages
  virtual uint64_t length(int64_t i) const = 0;    // in bytes
  virtual io::Bytes read(int64_t i) const = 0;
};

// Files below a folder. Their names lie in one text: a million of them take 40 MB.
class FolderFiles : public PictureStore {
 public:
  explicit FolderFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}
  // `relative`: "a.png" or "cat/a.png".
  void add(std::string_view relative);

  int64_t size() const override { return static_cast<int64_t>(begin_.size()) - 1; }
  std::string_view name(int64_t i) const override;
  std::string where(int64_t i) const override { return io::show(path(i)); }
  uint64_t length(int64_t i) const override;
  io::Bytes read(int64_t i) const override;

 private:
  std::string_view relative(int64_t i) const;
  std::filesystem::path path(int64_t i) const { return folder_ / relative(i); }

  std::filesystem::path folder_;
  std::string text_;
  std::vector<uint64_t> begin_{0};  // of each name in the text, and where the last one ends
};

}  // namespace diffscm::data
