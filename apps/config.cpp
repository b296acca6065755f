#include "apps/config.h"

#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <filesystem>
#include <sstream>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::apps {
namespace {

using nlohmann::json;

json to_json(const toml::node& node) {
  if (const auto* table = node.as_table()) {
    json object = json::object();
    for (const auto& [key, value] : *table) object[std::string(key.str())] = to_json(value);
    return object;
  }
  if (const auto* array = node.as_array()) {
    json list = json::array();
    for (const auto& value : *array) list.push_back(to_json(value));
    return list;
  }
  if (const auto* value = node.as_integer()) return value->get();
  if (const auto* value = node.as_floating_point()) return value->get();
  if (const auto* value = node.as_boolean()) return value->get();
  if (const auto* value = node.as_string()) return value->get();
  fail("configuration: dates and times have no meaning here");
}

json parse(const std::string& text, const std::string& what) {
  try {
    return to_json(toml::parse(text));
  } catch (const toml::parse_error& e) {
    fail("{}: line {}: {}", what, e.source().begin.line, e.description());
  }
}

}  // namespace

json load_config(const std::string& preset, const std::vector<std::string>& overrides) {
  std::string text;
  if (const auto found = presets().find(preset); found != presets().end()) {
    text = found->second;
  } else {
    std::vector<std::string> names;
    for (const auto& [name, unused] : presets()) names.push_back(name);
    require(std::filesystem::is_regular_file(preset),
            "no preset or file '{}': choose one of {}, or give a TOML file", preset, fmt::join(names, ", "));
    const io::Bytes bytes = io::read_file(preset, 1 << 20);
    text.assign(bytes.begin(), bytes.end());
  }
  json config = parse(text, preset);

  for (const std::string& override : overrides) {
    const size_t equals = override.find('=');
    require(equals != std::string::npos && equals > 0, "--set {}: expected name=value, such as train.diffusion.lr=1e-3",
            override);
    const std::string path = override.substr(0, equals), value = override.substr(equals + 1);
    json* target = &config;
    std::stringstream parts(path);
    for (std::string part; std::getline(parts, part, '.');) {
      require(target->is_object() && target->contains(part), "--set {}: the configuration has no entry '{}'",
              override, path);
      target = &(*target)[part];
    }
    require(!target->is_object(), "--set {}: '{}' is a section, set one of its entries", override, path);
    json parsed;
    try {
      parsed = parse("value = " + value, "--set " + override)["value"];
    } catch (const Error&) {
      parsed = value;  // a bare word: schedule=cosine
    }
    const bool numbers = target->is_number() && parsed.is_number();
    require(numbers || target->type() == parsed.type(), "--set {}: {} is of type {}, the configuration has {} = {}",
            override, parsed.dump(), parsed.type_name(), path, target->dump());
    *target = parsed;
  }
  return config;
}

}  // namespace diffscm::apps
