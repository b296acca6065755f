// What the tests of file formats share: a temporary folder, and ways to damage a file.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::testing {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "diffscm-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }
  int64_t files() const {
    return std::distance(std::filesystem::directory_iterator(path_),
                         std::filesystem::directory_iterator());
  }

 private:
  std::filesystem::path path_;
};

inline void put(const std::filesystem::path& path, std::string_view bytes) {
  // Not truncated in place: ext4 writes a file truncated and refilled to the disk at once.
  std::filesystem::remove(path);
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

inline std::string get(const std::filesystem::path& path) {
  const io::Bytes bytes = io::read_file(path);
  return {bytes.begin(), bytes.end()};
}

inline std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return bytes;
}

// `action` must throw Error with a message of one line that contains `part`.
inline void expect_error(const std::function<void()>& action, std::string_view part) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find(part), std::string::npos)
        << "\"" << message << "\" does not contain \"" << part << "\"";
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return;
  } catch (const std::exception& error) {
    ADD_FAILURE() << "not an Error but: " << error.what();
    return;
  }
  ADD_FAILURE() << "no Error, expected one containing \"" << part << "\"";
}

// Reads `path` with `bytes` cut at up to `cuts` lengths; every one must be an Error naming the
// file.
inline void expect_truncations_refused(const std::filesystem::path& path, const std::string& bytes,
                                       const std::function<void()>& read, size_t cuts = 300) {
  const size_t step = std::max<size_t>(1, bytes.size() / cuts);
  for (size_t length = 0; length < bytes.size(); length += step) {
    SCOPED_TRACE("length " + std::to_string(length));
    put(path, std::string_view(bytes).substr(0, length));
    expect_error(read, path.filename().string());
  }
}

// Flips single bits at up to `flips` places; `read` must return or throw Error. Returns how many
// were noticed.
inline int expect_bit_flips_survived(const std::filesystem::path& path, const std::string& bytes,
                                     const std::function<void()>& read, size_t flips = 1500) {
  const size_t bits = bytes.size() * 8, step = std::max<size_t>(1, bits / flips);
  int noticed = 0;
  for (size_t bit = 0; bit < bits; bit += step) {
    SCOPED_TRACE("bit " + std::to_string(bit));
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    put(path, damaged);
    try {
      read();
    } catch (const Error& error) {
      ++noticed;
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    } catch (const std::exception& error) {
      ADD_FAILURE() << "not an Error but: " << error.what();
    }
  }
  return noticed;
}

// What every reader must refuse: nothing there, a folder, an empty file, a pipe, other formats.
inline void expect_strangers_refused(const std::filesystem::path& path,
                                     const std::function<void()>& read) {
  namespace fs = std::filesystem;
  fs::remove_all(path);
  expect_error(read, path.filename().string());
  fs::create_directory(path);
  expect_error(read, "is a directory");
  fs::remove(path);
  for (const std::string_view stranger :
       {std::string_view(""), std::string_view("\0\0\0\0", 4),
        std::string_view("\x89PNG\r\n\x1a\n"), std::string_view("PK\x03\x04"),
        std::string_view("\x1f\x8b\x08"), std::string_view("\x93NUMPY"),
        std::string_view("{\"a\": 1}\n"),
        std::string_view("hello, world: this is not a file of numbers at all")}) {
    put(path, stranger);
    expect_error(read, path.filename().string());
  }
}

}  // namespace diffscm::testing
