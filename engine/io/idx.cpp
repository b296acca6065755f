#include "engine/io/idx.h"

#include <zlib.h>

#include <algorithm>
#include <memory>
#include <span>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxRank = 4;
constexpr uint64_t kValuesLimit = uint64_t{4} << 30;
// No deflate stream expands by more (zlib's technical notes: 1032:1).
constexpr uint64_t kDeflateLimit = 1032;

bool is_gzip(std::span<const uint8_t> bytes) {
  return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

// Bytes in file order, from a plain or compressed file already in memory.
class Source {
 public:
  Source(const fs::path& path, const Bytes& file) : path_(path), rest_(file) {
    compressed_ = is_gzip(rest_);
    if (!compressed_) return;
    require(inflateInit2(&stream_, 15 + 16) == Z_OK, "zlib cannot start");
    open_ = true;
  }
  ~Source() {
    if (open_) inflateEnd(&stream_);
  }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  // The largest number of bytes that could still follow.
  uint64_t at_most() const { return compressed_ ? rest_.size() * kDeflateLimit : rest_.size(); }

  void read(std::span<uint8_t> out) {
    const size_t got = compressed_ ? inflate_into(out) : copy_into(out);
    require(got == out.size(), "{} is cut short: {} bytes are missing", show(path_),
            out.size() - got);
  }

  // Nothing may follow, and a compressed stream must end with the right checksum.
  void finish() {
    uint8_t extra;
    const size_t got = compressed_ ? inflate_into({&extra, 1}) : rest_.size();
    require(got == 0, "{} is longer than the sizes in its header say", show(path_));
    require(!compressed_ || ended_, "{} is cut short: its gzip stream does not end", show(path_));
    require(rest_.empty(), "{} has {} bytes after its gzip stream", show(path_), rest_.size());
  }

 private:
  size_t copy_into(std::span<uint8_t> out) {
    const size_t size = std::min(out.size(), rest_.size());
    std::copy_n(rest_.begin(), size, out.begin());
    rest_ = rest_.subspan(size);
    return size;
  }

  size_t inflate_into(std::span<uint8_t> out) {
    size_t done = 0;
    while (done < out.size() && !ended_) {
      // zlib counts in 32 bits.
      const size_t in_size = std::min<size_t>(rest_.size(), size_t{1} << 30);
      const size_t out_size = std::min<size_t>(out.size() - done, size_t{1} << 30);
      stream_.next_in = const_cast<Bytef*>(rest_.data());
      stream_.avail_in = static_cast<uInt>(in_size);
      stream_.next_out = out.data() + done;
      stream_.avail_out = static_cast<uInt>(out_size);
      const int status = inflate(&stream_, Z_NO_FLUSH);
      rest_ = rest_.subspan(in_size - stream_.avail_in);
      done += out_size - stream_.avail_out;
      ended_ = status == Z_STREAM_END;
      if (ended_ && is_gzip(rest_)) {  // the next member continues the stream
        require(inflateReset(&stream_) == Z_OK, "zlib cannot start");
        ended_ = false;
        continue;
      }
      if (status == Z_BUF_ERROR) break;  // no more input
      require(status == Z_OK || ended_, "{} holds a corrupt gzip stream ({})", show(path_),
              stream_.msg ? stream_.msg : "zlib error");
    }
    return done;
  }

  const fs::path& path_;
  std::span<const uint8_t> rest_;
  bool compressed_ = false, ended_ = false, open_ = false;
  z_stream stream_{};
};

}  // namespace

IdxArray read_idx(const fs::path& path) {
  const Bytes file = read_file(path);
  Source source(path, file);
  uint8_t magic[4];
  require(source.at_most() >= 4, "{} is not an IDX file: it has {} bytes", show(path), file.size());
  source.read(magic);
  require(
      magic[0] == 0 && magic[1] == 0 && magic[2] == 0x08 && magic[3] >= 1 && magic[3] <= kMaxRank,
      "{} is not an IDX file of bytes: its magic number is {:02x}{:02x}{:02x}{:02x}, expected "
      "000008 and a rank of 1 to {}",
      show(path), magic[0], magic[1], magic[2], magic[3], kMaxRank);

  IdxArray array;
  uint64_t count = 1;
  for (int d = 0; d < magic[3]; ++d) {
    uint8_t b[4];
    source.read(b);
    const uint64_t size = uint64_t{b[0]} << 24 | uint64_t{b[1]} << 16 | uint64_t{b[2]} << 8 | b[3];
    require(!__builtin_mul_overflow(count, std::max<uint64_t>(size, 1), &count) &&
                count <= kValuesLimit,
            "{} declares more than {} values", show(path), kValuesLimit);
    array.shape.push_back(static_cast<int64_t>(size));
  }
  if (std::ranges::find(array.shape, 0) != array.shape.end()) count = 0;
  // Before allocating: a file of a few bytes must not ask for gigabytes.
  require(count <= source.at_most(), "{} is cut short: shape {} needs {} bytes", show(path),
          to_string(array.shape), count);
  array.values.resize(count);
  source.read(array.values);
  source.finish();
  return array;
}

void write_idx(const fs::path& path, const IdxArray& array) {
  require(array.shape.size() >= 1 && array.shape.size() <= kMaxRank &&
              numel(array.shape) == std::ssize(array.values),
          "{} values of shape {} for {}", array.values.size(), to_string(array.shape), show(path));
  Bytes bytes = {0, 0, 0x08, static_cast<uint8_t>(array.shape.size())};
  for (const int64_t size : array.shape)
    for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<uint8_t>(size >> shift));
  bytes.insert(bytes.end(), array.values.begin(), array.values.end());
  z_stream stream{};
  constexpr int kMemory = 8;  // zlib's default
  require(
      deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, kMemory, Z_DEFAULT_STRATEGY) == Z_OK,
      "zlib cannot start");
  Bytes compressed(deflateBound(&stream, bytes.size()));
  stream.next_in = bytes.data();
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = compressed.data();
  stream.avail_out = static_cast<uInt>(compressed.size());
  const int status = deflate(&stream, Z_FINISH);
  compressed.resize(stream.total_out);
  deflateEnd(&stream);
  require(status == Z_STREAM_END, "zlib cannot compress {} bytes", bytes.size());
  atomic_write(path, compressed);
}

}  // namespace diffscm::io
