#include "data/attribute_column.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

using io::show;

template <class T>
bool read(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

int64_t whole(const std::string& cell) {
  int64_t value = 0;
  read(cell, value);
  return value;
}

bool is_whole(const std::string& cell) {
  return std::to_string(whole(cell)) == cell;
}

}  // namespace

bool is_number(std::string_view cell) {
  double value = 0;
  return read(cell, value);
}

Attribute attribute_of_cells(const std::string& name, const std::set<std::string>& cells,
                             std::string_view where) {
  require(io::is_utf8(name), "{}: attribute {} is not named in UTF-8: rename it", where,
          show(name));
  const std::string *number = nullptr, *word = nullptr;
  for (const std::string& cell : cells) {
    require(io::is_utf8(cell), "{}: {} {} is not named in UTF-8: rename it", where, name,
            show(cell));
    double value = 0;
    (read(cell, value) ? number : word) = &cell;
    require(std::isfinite(value), "{}: {} is {}: give finite numbers", where, show(name), cell);
  }
  if (number && word)
    fail("{}: {} is {} and {}: give all of them numbers or all of them names", where, show(name),
         *number, show(*word));
  if (number && !(cells.size() <= kFewNumbers && std::ranges::all_of(cells, is_whole)))
    return {.name = name};
  require(std::ssize(cells) <= kMaxStates, "{}: {} has {} different names, more than {}", where,
          show(name), cells.size(), kMaxStates);
  Attribute category{.name = name, .states = {cells.begin(), cells.end()}};
  if (number) std::ranges::sort(category.states, {}, whole);
  return category;
}

}  // namespace diffscm::data
