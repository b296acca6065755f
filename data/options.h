// What follows a path in --data: "FOLDER:size=64,count=1000".
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace diffscm::data {

struct Option {
  std::string_view name;
  int64_t least, most;
  int64_t* value;
  std::string_view meaning;  // "pixels on each side": for the message
};

// A whole number and nothing else.
std::optional<int64_t> as_number(std::string_view word);

// Sets the values of those that `text` names. Throws Error naming the one that is none, out of its
// range or there twice.
void parse_options(std::string_view text, std::string_view where, std::span<const Option> options);

}  // namespace diffscm::data
