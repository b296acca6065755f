// The one error type of the project, and the check that throws it.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace diffscm {

// Anything the user can cause: a bad file, flag, shape or device. The message is one line that
// names the offending value and what to do about it.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class... A>
[[noreturn]] void fail(fmt::format_string<A...> format, A&&... args) {
  throw Error(fmt::format(format, std::forward<A>(args)...));
}

// Throws Error with the formatted message unless `condition` holds. Never compiled out.
template <class... A>
void require(bool condition, fmt::format_string<A...> format, A&&... args) {
  if (!condition) [[unlikely]]
    throw Error(fmt::format(format, std::forward<A>(args)...));
}

}  // namespace diffscm
