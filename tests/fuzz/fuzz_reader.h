// libFuzzer's entry to one reader: what it may do with any bytes is succeed, or throw Error with
// one line. How to build and run: tests/fuzz/CMakeLists.txt.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernels/error.h"

namespace diffscm::testing {

template <class Read>
void survive(Read&& read) {
  try {
    read();
  } catch (const Error& e) {
    if (std::string_view(e.what()).find('\n') != std::string_view::npos)
      throw std::logic_error(std::string("an Error of several lines: ") + e.what());
  }
}

// Calls read(path) of a file in memory that holds the bytes.
template <class Read>
void survive_file(std::span<const uint8_t> bytes, Read&& read) {
  static const int descriptor = ::memfd_create("input", 0);
  const auto size = static_cast<ssize_t>(bytes.size());
  if (::ftruncate(descriptor, 0) != 0 ||
      ::pwrite(descriptor, bytes.data(), bytes.size(), 0) != size)
    throw std::runtime_error("no file in memory");
  survive([&] { read(std::filesystem::path("/proc/self/fd/" + std::to_string(descriptor))); });
}

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace diffscm::testing
