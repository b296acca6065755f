#include "apps/config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <sstream>

#include "apps/flags.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/toml.h"
#include "kernels/error.h"

namespace diffscm::apps {
namespace {

using nlohmann::json;

json parse(const std::string& text, const std::string& what) {
  try {
    return io::to_json(toml::parse(text), [&](const toml::node& node) {
      fail("{}: line {}: dates and times have no meaning here", what, node.source().begin.line);
    });
  } catch (const toml::parse_error& e) {
    fail("{}: line {}: {}", what, e.source().begin.line, e.description());
  }
}

json read_toml(const std::string& path) {
  const io::Bytes bytes = io::read_file(path, 1 << 20);
  return parse(std::string(bytes.begin(), bytes.end()), path);
}

// As it would be typed; JSON has no word for nan and inf.
std::string as_argument(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  const bool finite = !value.is_number_float() || std::isfinite(value.get<double>());
  return finite ? io::dump(value) : fmt::format("{}", value.get<double>());
}

// True for "--name" and "--name=value".
bool is_flag(const std::string& argument, const std::string& name) {
  return argument == "--" + name || argument.rfind("--" + name + "=", 0) == 0;
}

void apply_override(json& config, const std::string& override) {
  const size_t equals = override.find('=');
  require(equals != std::string::npos && equals > 0,
          "--set {}: expected name=value, such as train.diffusion.lr=1e-3", override);
  const std::string path = override.substr(0, equals), value = override.substr(equals + 1);
  json* target = &config;
  std::stringstream parts(path);
  for (std::string part; std::getline(parts, part, '.');) {
    require(target->is_object() && target->contains(part),
            "--set {}: the configuration has no entry '{}'", override, path);
    target = &(*target)[part];
  }
  require(!target->is_object(), "--set {}: '{}' is a section, set one of its entries", override,
          path);
  json parsed;
  try {
    parsed = parse("value = " + value, "--set " + override)["value"];
  } catch (const Error&) {
    parsed = value;  // a bare word: schedule=cosine
  }
  const bool numbers = target->is_number_float() && parsed.is_number();
  require(numbers || target->type() == parsed.type(),
          "--set {}: {} is of type {}, the configuration has {} = {}", override, io::dump(parsed),
          parsed.type_name(), path, io::dump(*target));
  *target = parsed;
}

// What no command reads is a typing error: with [conditon] a U-Net would be trained unconditional.
// The built-in presets have every section and entry; networks and [train.*] check their own.
void check_names(const json& config, const std::string& what) {
  json known = json::object();
  for (const auto& [name, text] : presets()) known.merge_patch(parse(text, name));
  const auto check = [&](const json& given, const json& all, const std::string& where) {
    std::vector<std::string> names;
    for (const auto& [name, unused] : all.items()) names.push_back(where + name);
    for (const auto& [name, unused] : given.items())
      require(all.contains(name), "{} has an unknown {}{}: there are {}", what, where, name,
              fmt::join(names, ", "));
  };
  check(config, known, "");
  for (const char* section : {"train", "diffusion", "condition"}) {
    if (!config.contains(section)) continue;
    require(config[section].is_object(), "{}: {} must be a section, not a value", what, section);
    check(config[section], known.at(section), std::string(section) + ".");
  }
}

}  // namespace

std::string ConfigFlags::source_of(const std::string& message) const {
  return from_file.contains(message.substr(0, message.find_first_of(" =:"))) ? file + ": " : "";
}

ConfigFlags expand_config_flags(std::vector<std::string> arguments) {
  // "--name=" has an empty value, which CLI11 would take from the argument after it.
  for (size_t i = 0; i < arguments.size(); ++i)
    if (arguments[i].starts_with("--") && arguments[i].find('=') == arguments[i].size() - 1) {
      arguments[i].pop_back();
      arguments.insert(arguments.begin() + static_cast<std::ptrdiff_t>(++i), "");
    }
  std::string path;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (!is_flag(arguments[i], "config")) continue;
    const size_t equals = arguments[i].find('=');
    if (equals != std::string::npos)
      path = arguments[i].substr(equals + 1);
    else if (i + 1 < arguments.size())
      path = arguments[i + 1];
  }
  ConfigFlags flags{arguments, path};
  if (path.empty()) return flags;
  const json entries = read_toml(path);
  for (const auto& [name, value] : entries.items()) {
    const auto by_hand = [&name = name](const std::string& a) { return is_flag(a, name); };
    if (std::any_of(arguments.begin(), arguments.end(), by_hand)) continue;
    flags.from_file.insert("--" + name);
    for (const json& v : value.is_array() ? value : json::array({value})) {
      require(!v.is_structured(), "{}: '{}' must be a value or a list of values", path, name);
      // With its "=", true is never followed by the flag after it as its value.
      flags.arguments.push_back("--" + name + "=" + as_argument(v));
    }
  }
  return flags;
}

std::string presets_with(const std::string& section) {
  std::string names;
  for (const auto& [name, text] : presets())
    if (text.find("[" + section + "]") != std::string::npos) names += name + "|";
  return names + "FILE";
}

json load_config(const std::string& preset, const std::vector<std::string>& overrides) {
  json config;
  if (const auto found = presets().find(preset); found != presets().end()) {
    config = parse(found->second, preset);
  } else {
    std::vector<std::string> names;
    for (const auto& [name, unused] : presets()) names.push_back(name);
    require(std::filesystem::is_regular_file(preset),
            "no preset or file '{}': choose one of {}, or give a TOML file", preset,
            fmt::join(names, ", "));
    config = read_toml(preset);
    check_names(config, preset);
  }

  for (const std::string& override : overrides) as_usage([&] { apply_override(config, override); });
  return config;
}

}  // namespace diffscm::apps
