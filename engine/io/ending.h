// What files are is told by how their names end, in any case: A.PNG is a picture, B.Csv a table.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace diffscm::io {

// ASCII letters made small.
inline std::string lower_case(std::string_view text) {
  std::string small(text);
  for (char& c : small)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return small;
}

// From the last dot of the last name on, in small letters: ".png". Nothing where it has none.
inline std::string ending_of(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return lower_case(name.substr(std::min(name.rfind('.'), name.size())));
}

}  // namespace diffscm::io
