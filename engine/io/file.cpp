#include "engine/io/file.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>

#include "kernels/error.h"

namespace diffscm::io {
namespace {

namespace fs = std::filesystem;

constexpr size_t kQuotedLength = 80;

// Bytes of the UTF-8 sequence that `text` begins with (Unicode 15, table 3-7); 0 if it is none.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return text.empty() ? 0 : 1;
  const size_t length = first < 0xc2   ? 0
                        : first < 0xe0 ? 2
                        : first < 0xf0 ? 3
                        : first < 0xf5 ? 4
                                       : 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  const bool overlong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool surrogate = first == 0xed && byte(1) >= 0xa0;
  const bool too_large = first == 0xf4 && byte(1) >= 0x90;
  return overlong || surrogate || too_large ? 0 : length;
}

std::string escaped(std::string_view text, size_t limit) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const size_t length = utf8_length(text.substr(i));
    if (i + std::max<size_t>(length, 1) > limit) {
      out += "...";
      break;
    }
    if (c < 0x20 || c == 0x7f || length == 0)
      out += fmt::format("\\x{:02x}", c);
    else
      out += text.substr(i, length);
    i += std::max<size_t>(length, 1);
  }
  return out + "\"";
}

// Closes the descriptor and removes the temporary file unless it was renamed.
class TemporaryFile {
 public:
  explicit TemporaryFile(const fs::path& target) : target_(target) {
    static std::atomic<unsigned> counter{0};
    const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
    for (int attempt = 0; attempt < 100; ++attempt) {
      path_ = folder / fmt::format(".{}.{}-{}.tmp", target.filename().string(), ::getpid(),
                                   counter.fetch_add(1));
      descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (descriptor_ >= 0 || errno != EEXIST) break;
    }
    require(descriptor_ >= 0, "cannot write {}: {}", show(target), std::strerror(errno));
  }
  ~TemporaryFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!renamed_) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  int descriptor() const { return descriptor_; }

  void commit() {
    if (::fsync(descriptor_) != 0) fail("cannot write {}: {}", show(target_), std::strerror(errno));
    const int closed = ::close(descriptor_);
    descriptor_ = -1;
    if (closed != 0) fail("cannot write {}: {}", show(target_), std::strerror(errno));
    if (::rename(path_.c_str(), target_.c_str()) != 0)
      fail("cannot replace {}: {}", show(target_), std::strerror(errno));
    renamed_ = true;
  }

 private:
  fs::path target_, path_;
  int descriptor_ = -1;
  bool renamed_ = false;
};

// Makes a rename durable. Some file systems refuse fsync of a folder; the rename is then as durable
// as they make it, so the result is not checked.
void sync_folder_of(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    require(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1,
            "OpenSSL has no SHA-256 on this machine");
  }
  void update(std::span<const uint8_t> bytes) {
    EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
  }
  std::string hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    EVP_DigestFinal_ex(context_.get(), digest, &length);
    std::string out;
    for (unsigned i = 0; i < length; ++i) out += fmt::format("{:02x}", digest[i]);
    return out;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

}  // namespace

std::string show(std::string_view text) {
  return escaped(text, kQuotedLength);
}

std::string show(const std::string& text) {
  return show(std::string_view(text));
}

std::string show(const char* text) {
  return show(std::string_view(text));
}

// Paths are the user's own words: never cut.
std::string show(const fs::path& path) {
  return escaped(path.string(), std::string::npos);
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

FileReader::FileReader(const fs::path& path) : path_(path) {
  // O_NONBLOCK: opening a pipe without a writer must not hang.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  require(descriptor_ >= 0, "cannot open {}: {}", show(path), std::strerror(errno));
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    fail("{} is {}, not a file", show(path),
         S_ISDIR(status.st_mode) ? "a directory" : "a pipe or device");
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

FileReader::~FileReader() {
  ::close(descriptor_);
}

void FileReader::read(uint64_t offset, std::span<uint8_t> out) const {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = ::pread(descriptor_, out.data() + done, out.size() - done,
                                static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    require(got >= 0, "cannot read {}: {}", show(path_), std::strerror(errno));
    require(got > 0, "{} ends at byte {}, {} bytes are missing", show(path_), offset + done,
            out.size() - done);
    done += static_cast<size_t>(got);
  }
}

std::shared_ptr<uint8_t[]> FileReader::map() const {
  const size_t size = size_;
  if (size == 0) return nullptr;
  void* bytes =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor_, 0);
  require(bytes != MAP_FAILED, "cannot map {}: {}", show(path_), std::strerror(errno));
  return {static_cast<uint8_t*>(bytes), [size](uint8_t* p) { ::munmap(p, size); }};
}

double resident_bytes() {
  std::ifstream status("/proc/self/statm");
  double total = 0, resident = 0;
  status >> total >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

uint64_t machine_memory() {
  uint64_t bytes = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                   static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  // Control groups, version 2 and 1; without a limit the file says "max" or an enormous number.
  for (const char* file :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"})
    if (uint64_t limit = 0; std::ifstream(file) >> limit) bytes = std::min(bytes, limit);
  return bytes;
}

void drop_pages(const void* begin, size_t size) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page;
  const auto last = (reinterpret_cast<uintptr_t>(begin) + size) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

Bytes read_file(const fs::path& path, uint64_t limit) {
  const FileReader reader(path);
  require(reader.size() <= limit, "{} has {} bytes, more than the {} accepted here", show(path),
          reader.size(), limit);
  Bytes bytes(reader.size());
  reader.read(0, bytes);
  return bytes;
}

std::string as_utf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    else
      out += text.substr(0, length);
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

std::vector<fs::path> list_folder(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> entries;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    entries.push_back(it->path());
  if (error) fail("cannot list {}: {}", show(folder), error.message());
  std::ranges::sort(entries);
  return entries;
}

FileSink::FileSink(const fs::path& path, int descriptor) : path_(path), descriptor_(descriptor) {}

void FileSink::write(const void* data, size_t size) {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t put = ::write(descriptor_, next, size);
    if (put < 0 && errno == EINTR) continue;
    require(put >= 0, "cannot write {}: {}", show(path_), std::strerror(errno));
    next += put;
    size -= static_cast<size_t>(put);
  }
}

void atomic_write(const fs::path& path, const std::function<void(FileSink&)>& fill) {
  std::error_code ignored;
  require(path.has_filename() && !fs::is_directory(path, ignored),
          "cannot write {}: it is a directory, name a file", show(path));
  TemporaryFile file(path);
  FileSink sink(path, file.descriptor());
  fill(sink);
  file.commit();
  sync_folder_of(path);
}

void atomic_write(const fs::path& path, std::span<const uint8_t> bytes) {
  atomic_write(path, [&](FileSink& sink) { sink.write(bytes.data(), bytes.size()); });
}

void atomic_write(const fs::path& path, std::string_view text) {
  atomic_write(path, [&](FileSink& sink) { sink.write(text); });
}

std::string sha256(std::span<const uint8_t> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

std::string sha256_of_file(const fs::path& path) {
  const FileReader reader(path);
  Sha256 hash;
  Bytes chunk(size_t{1} << 20);
  for (uint64_t offset = 0; offset < reader.size(); offset += chunk.size()) {
    const std::span<uint8_t> part(chunk.data(),
                                  std::min<uint64_t>(chunk.size(), reader.size() - offset));
    reader.read(offset, part);
    hash.update(part);
  }
  return hash.hex();
}

}  // namespace diffscm::io
