#include "data/index_range.h"

#include <algorithm>
#include <optional>
#include <string>

#include "data/options.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

// The pieces of text between separators; "a::b" has an empty one in the middle.
std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> pieces;
  while (true) {
    const size_t at = text.find(separator);
    pieces.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return pieces;
    text.remove_prefix(at + 1);
  }
}

std::optional<int64_t> number(std::string_view text) {
  const auto value = as_number(text);
  return value && *value >= 0 ? value : std::nullopt;
}

}  // namespace

std::vector<int64_t> parse_index_range(std::string_view text, int64_t size) {
  const auto bound = [&](std::string_view piece, int64_t otherwise) {
    if (piece.empty()) return otherwise;
    const auto value = number(piece);
    require(value.has_value(),
            "index {} is not understood: write 7, 0:10 (10 excluded), 0:100:10 or 3,5,9",
            io::show(text));
    return *value;
  };
  std::vector<int64_t> index;
  for (const std::string_view piece : split(text, ',')) {
    const auto parts = split(piece, ':');
    require(!piece.empty() && parts.size() <= 3,
            "index {} is not understood: write 7, 0:10 (10 excluded), 0:100:10 or 3,5,9",
            io::show(text));
    const int64_t begin = bound(parts[0], 0);
    const int64_t step = parts.size() == 3 ? bound(parts[2], 1) : 1;
    require(step >= 1, "index {} has a step of 0", io::show(text));
    if (parts.size() == 1) {
      require(begin < size, "index {} is outside the data set: it has {} samples, the last is {}",
              begin, size, size - 1);
      index.push_back(begin);
      continue;
    }
    const int64_t end = bound(parts[1], size);
    require(end <= size, "index {} ends at {}, but the data set has {} samples", io::show(text),
            end, size);
    // Not i += step in the condition alone: a huge step must not overflow.
    for (int64_t i = begin; i < end; i += step) {
      index.push_back(i);
      if (step >= end - i) break;
    }
  }
  require(!index.empty(), "index {} selects no sample", io::show(text));
  return index;
}

std::vector<int64_t> index_range_or_first(std::string_view text, int64_t count, int64_t size) {
  return parse_index_range(text.empty() ? fmt::format(":{}", std::min(count, size)) : text, size);
}

}  // namespace diffscm::data
