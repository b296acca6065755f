// JSON Lines: one JSON value per line, appended as results arrive.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

namespace diffscm::io {

class JsonlWriter {
 public:
  // create empties the file; resume keeps its whole lines and cuts a last line that a crash left
  // without its newline.
  enum class Mode { create, resume };
  explicit JsonlWriter(const std::filesystem::path& path, Mode mode = Mode::create);
  ~JsonlWriter();
  JsonlWriter(const JsonlWriter&) = delete;
  JsonlWriter& operator=(const JsonlWriter&) = delete;

  // One line, handed to the system before returning. NaN and infinity become null; bytes that are
  // not UTF-8 become U+FFFD.
  void write(const nlohmann::ordered_json& value);

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

// All whole lines; a last line without newline is left out. Throws Error naming the line that is
// not JSON.
std::vector<nlohmann::json> read_jsonl(const std::filesystem::path& path);

}  // namespace diffscm::io
