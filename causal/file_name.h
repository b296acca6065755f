// What a node is called in the names of files.
#pragma once

#include <fmt/format.h>

#include <cctype>
#include <string>
#include <string_view>

namespace diffscm::causal {

// File systems take 255 bytes: that leaves room for ".safetensors" and what a temporary file adds.
constexpr size_t kMaxFileName = 200;

// Bytes other than letters, digits, _ - . as %XX.
inline std::string file_name(std::string_view node) {
  std::string name;
  for (const char c : node) {
    const auto byte = static_cast<unsigned char>(c);
    // A dot may not come first: the node .. is no folder.
    const bool plain =
        byte < 0x80 && (std::isalnum(byte) || c == '_' || c == '-' || (c == '.' && !name.empty()));
    name += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return name;
}

}  // namespace diffscm::causal
