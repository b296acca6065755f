#include "engine/io/jsonl.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

namespace fs = std::filesystem;

// Bytes up to and including the last newline.
uint64_t whole_lines(const fs::path& path) {
  const FileReader reader(path);
  Bytes chunk(65536);
  for (uint64_t end = reader.size(); end > 0;) {
    const uint64_t size = std::min<uint64_t>(end, chunk.size());
    const std::span<uint8_t> part(chunk.data(), size);
    reader.read(end - size, part);
    const auto newline = std::find(part.rbegin(), part.rend(), '\n');
    if (newline != part.rend()) return end - static_cast<uint64_t>(newline - part.rbegin());
    end -= size;
  }
  return 0;
}

// The parser's own nesting is unbounded; a value of a result file is shallow.
constexpr int kMaxDepth = 64;

}  // namespace

JsonlWriter::JsonlWriter(const fs::path& path, Mode mode) : path_(path) {
  std::error_code ignored;
  require(!fs::is_directory(path, ignored), "cannot write {}: it is a directory, name a file",
          show(path));
  uint64_t keep = 0;
  if (mode == Mode::resume && fs::exists(path, ignored)) keep = whole_lines(path);
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  require(descriptor_ >= 0, "cannot write {}: {}", show(path), std::strerror(errno));
  if (::ftruncate(descriptor_, static_cast<off_t>(keep)) != 0) {
    const int code = errno;
    ::close(descriptor_);
    fail("cannot write {}: {}", show(path), std::strerror(code));
  }
}

JsonlWriter::~JsonlWriter() {
  ::close(descriptor_);
}

void JsonlWriter::write(const nlohmann::ordered_json& value) {
  // One write call per line: readers and a crash see whole lines but for the last.
  FileSink(path_, descriptor_)
      .write(value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::vector<nlohmann::json> read_jsonl(const fs::path& path) {
  const Bytes file = read_file(path);
  const auto too_deep = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    require(depth <= kMaxDepth, "{} nests deeper than {} levels", show(path), kMaxDepth);
    return true;
  };
  std::vector<nlohmann::json> values;
  auto begin = file.begin();
  for (size_t line = 1;; ++line) {
    const auto end = std::find(begin, file.end(), '\n');
    if (end == file.end()) return values;
    try {
      values.push_back(nlohmann::json::parse(begin, end, too_deep));
    } catch (const nlohmann::json::exception&) {
      fail("{}, line {}, is not JSON", show(path), line);
    }
    begin = end + 1;
  }
}

}  // namespace diffscm::io
