// JSON to and from text, compiled once: nlohmann's writer and parser take a second in each file
// that makes its own.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace diffscm::io {

// In one line, or in lines indented by `indent`. Bytes that are not UTF-8 (of a path on the command
// line, say) become U+FFFD, NaN and infinity null.
std::string dump(const nlohmann::json& json, int indent = -1);
std::string dump(const nlohmann::ordered_json& json, int indent = -1);

// What `text` says, or a value that is_discarded() when it is not JSON.
nlohmann::json parse_json(std::string_view text);

}  // namespace diffscm::io
