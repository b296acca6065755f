#include "engine/io/json.h"

#include <nlohmann/json.hpp>

namespace diffscm::io {

using Replace = nlohmann::json::error_handler_t;

std::string dump(const nlohmann::json& json, int indent) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Replace::replace);
}

std::string dump(const nlohmann::ordered_json& json, int indent) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Replace::replace);
}

nlohmann::json parse_json(std::string_view text) {
  return nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace diffscm::io
