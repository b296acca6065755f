#include "engine/io/npy_header.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr std::string_view kDescr[] = {"<f4", "<f8", "|u1", "<i4", "<i8", "|b1"};  // by NpyType
constexpr size_t kMaxRank = 32;  // NumPy's own limit

// Reads  {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  from left to right.
class DictionaryParser {
 public:
  DictionaryParser(std::string_view text, const std::string& where) : rest_(text), where_(where) {}

  NpyHeader parse() {
    bool seen_descr = false, seen_order = false, seen_shape = false, fortran = false;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = string();
      expect(':');
      if (key == "descr" && !std::exchange(seen_descr, true)) {
        descr();
      } else if (key == "fortran_order" && !std::exchange(seen_order, true)) {
        fortran = boolean();
      } else if (key == "shape" && !std::exchange(seen_shape, true)) {
        shape();
      } else {
        fail("{}: its header has an unknown or repeated key {}", where_, show(key));
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    require(rest_.empty(), "{}: its header has text after the dictionary", where_);
    require(seen_descr && seen_order && seen_shape,
            "{}: its header lacks one of descr, fortran_order and shape", where_);
    require(!fortran || header_.shape.size() <= 1,
            "{} is in Fortran order: save it with np.ascontiguousarray", where_);
    return header_;
  }

 private:
  void skip_spaces() {
    const size_t n = rest_.find_first_not_of(" \n");
    rest_.remove_prefix(n == std::string_view::npos ? rest_.size() : n);
  }
  bool accept(char c) {
    skip_spaces();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    require(accept(c), "{}: its header is not understood at {}, expected '{}'", where_, show(rest_),
            c);
  }
  std::string_view string() {
    skip_spaces();
    const char quote = rest_.starts_with('"') ? '"' : '\'';
    expect(quote);
    const size_t end = rest_.find(quote);
    require(end != std::string_view::npos, "{}: its header has an open string", where_);
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }
  bool boolean() {
    skip_spaces();
    for (const std::string_view word : {"True", "False"}) {
      if (!rest_.starts_with(word)) continue;
      rest_.remove_prefix(word.size());
      return word == "True";
    }
    fail("{}: fortran_order is neither True nor False", where_);
  }
  void descr() {
    skip_spaces();
    require(!rest_.starts_with('['), "{} is a structured array, which diffscm does not read",
            where_);
    const std::string_view name = string();
    require(name.find('O') == std::string_view::npos,
            "{} holds Python objects (a pickle), which diffscm refuses to load", where_);
    const auto known = std::ranges::find(kDescr, name);
    if (known == std::end(kDescr))
      fail("{} has type {}; diffscm reads <f4, <f8, |u1, |b1, <i4 and <i8", where_, show(name));
    header_.type = static_cast<NpyType>(known - kDescr);
  }
  void shape() {
    expect('(');
    while (!accept(')')) {
      skip_spaces();
      int64_t size = -1;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
      require(error == std::errc() && size >= 0, "{}: its shape is not understood at {}", where_,
              show(rest_));
      rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
      header_.shape.push_back(size);
      require(header_.shape.size() <= kMaxRank, "{} has more than {} dimensions", where_, kMaxRank);
      if (!accept(',')) {
        require(header_.shape.size() > 1, "{}: its shape is a number, not a tuple", where_);
        expect(')');
        break;
      }
    }
  }

  std::string_view rest_;
  const std::string& where_;
  NpyHeader header_;
};

}  // namespace

NpyHeader parse_npy_header(std::span<const uint8_t> start, uint64_t file_bytes,
                           const std::string& where) {
  const std::string_view text(reinterpret_cast<const char*>(start.data()), start.size());
  require(text.size() >= 10 && text.starts_with(kMagic), "{} is not an .npy array", where);
  const int version = start[6];
  require(version >= 1 && version <= 3 && start[7] == 0,
          "{} has .npy version {}.{}; diffscm reads 1.0 to 3.0", where, version, start[7]);
  const size_t length_bytes = version == 1 ? 2 : 4;
  require(text.size() >= 8 + length_bytes, "{} is cut short in its header", where);
  size_t length = 0;
  for (size_t i = 0; i < length_bytes; ++i) length |= size_t{start[8 + i]} << (8 * i);
  const size_t begin = 8 + length_bytes;
  constexpr size_t kLimit = kNpyHeaderLimit - 12;
  require(length <= kLimit, "{} claims a header of {} bytes, the limit is {}", where, length,
          kLimit);
  require(length <= text.size() - begin, "{} is cut short in its header", where);
  NpyHeader header = DictionaryParser(text.substr(begin, length), where).parse();
  header.size = begin + length;

  uint64_t bytes = static_cast<uint64_t>(size_of(header.type));
  bool empty = false;
  for (const int64_t d : header.shape) {
    empty |= d == 0;
    // A zero must not hide an overflow of the other sizes; 2^62 keeps numel() in range.
    require(!__builtin_mul_overflow(bytes, static_cast<uint64_t>(d == 0 ? 1 : d), &bytes) &&
                bytes <= uint64_t{1} << 58,
            "{}: shape {} is too large", where, to_string(header.shape));
  }
  if (empty) bytes = 0;
  require(bytes == file_bytes - header.size,
          "{}: shape {} of {} needs {} bytes, but {} follow the header", where,
          to_string(header.shape), name_of(header.type), bytes, file_bytes - header.size);
  return header;
}

std::string npy_header(const NpyArray& array) {
  std::string shape;
  for (const int64_t d : array.shape) shape += fmt::format("{}, ", d);
  if (array.shape.size() > 1) shape.resize(shape.size() - 2);
  if (array.shape.size() == 1) shape.resize(shape.size() - 1);
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                                 kDescr[static_cast<int>(array.type)], shape);
  constexpr size_t kPrefix = 10, kAlign = 64;
  text.resize((kPrefix + text.size() + 1 + kAlign - 1) / kAlign * kAlign - kPrefix - 1, ' ');
  text += '\n';
  std::string out(kMagic);
  out +=
      {'\x01', '\x00', static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};
  return out + text;
}

}  // namespace diffscm::io
