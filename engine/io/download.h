// Downloads over https, checked before they are kept.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace diffscm::io {

struct Download {
  std::string url;          // https only, also after redirects
  std::string sha256;       // 64 lower-case hexadecimal digits
  uint64_t size_limit = 0;  // bytes
};

// Fetches the file into `path` (atomically; folders are made). Nothing is written unless the
// checksum agrees. Throws Error on a failed connection, a status other than 200, a stall of 30
// seconds, a body over the limit, or a wrong checksum.
void download(const Download& source, const std::filesystem::path& path);

// Throws Error naming `origin` unless the bytes have this checksum.
void verify_sha256(const std::string& bytes_sha256, const std::string& expected,
                   const std::string& origin);

}  // namespace diffscm::io
