// One process at a time writes to a folder.
#pragma once

#include <filesystem>
#include <string>

namespace diffscm::io {

// Held by the file FOLDER/NAME, which says who holds it (a process id) and disappears with the
// lock. The system releases the lock of a process that was killed, so a file that was left behind
// hinders nobody.
class FolderLock {
 public:
  // Throws Error when another process holds the lock or the file cannot be made; the folder must
  // exist.
  explicit FolderLock(const std::filesystem::path& folder, const std::string& name = ".lock");
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace diffscm::io
