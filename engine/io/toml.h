// TOML as JSON.
#pragma once

#include <toml++/toml.h>

#include <nlohmann/json.hpp>
#include <string>

namespace diffscm::io {

// Tables, lists, numbers, truth values and text. `refuse(node)` throws for what JSON has not: dates
// and times.
template <class Refuse>
nlohmann::json to_json(const toml::node& node, const Refuse& refuse) {
  if (const auto* table = node.as_table()) {
    nlohmann::json object = nlohmann::json::object();
    for (const auto& [key, value] : *table) object[std::string(key.str())] = to_json(value, refuse);
    return object;
  }
  if (const auto* array = node.as_array()) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& value : *array) list.push_back(to_json(value, refuse));
    return list;
  }
  if (const auto* value = node.as_integer()) return value->get();
  if (const auto* value = node.as_floating_point()) return value->get();
  if (const auto* value = node.as_boolean()) return value->get();
  if (const auto* value = node.as_string()) return value->get();
  refuse(node);
  return {};
}

}  // namespace diffscm::io
