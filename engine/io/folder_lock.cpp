#include "engine/io/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

// Whether `path` still names the open file: its holder may have removed it in the meantime.
bool names(const std::filesystem::path& path, int descriptor) {
  struct stat by_path {
  }, open{};
  return ::stat(path.c_str(), &by_path) == 0 && ::fstat(descriptor, &open) == 0 &&
         by_path.st_dev == open.st_dev && by_path.st_ino == open.st_ino;
}

std::string holder(int descriptor) {
  char text[32];
  const ssize_t size = ::pread(descriptor, text, sizeof text, 0);
  return size > 0 ? std::string(text, static_cast<size_t>(size)) : "unknown";
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder, const std::string& name)
    : path_(folder / name) {
  while (true) {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    require(descriptor_ >= 0, "cannot write {}: {}", show(path_), std::strerror(errno));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      const int reason = errno;
      const std::string other = holder(descriptor_);
      ::close(descriptor_);
      require(reason != EWOULDBLOCK,
              "{} is in use by another run (process {}): wait for it, or choose another folder",
              show(folder), show(other));
      fail("cannot lock {}: {}", show(path_), std::strerror(reason));
    }
    if (names(path_, descriptor_)) break;
    ::close(descriptor_);
  }
  const std::string id = std::to_string(::getpid());
  [[maybe_unused]] const int cut = ::ftruncate(descriptor_, 0);
  [[maybe_unused]] const ssize_t written = ::pwrite(descriptor_, id.data(), id.size(), 0);
}

FolderLock::~FolderLock() {
  ::unlink(path_.c_str());
  ::close(descriptor_);
}

}  // namespace diffscm::io
