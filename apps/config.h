// Presets and TOML files, as one JSON object.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace diffscm::apps {

// JSON as text; bytes that are not UTF-8 (in a path on the command line, say) become U+FFFD.
template <class Json>
std::string dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// Name -> TOML text of the presets built into the program (configs/*.toml).
const std::map<std::string, std::string>& presets();

// The names of those that have the section [train.KIND] and "FILE", separated by "|".
std::string presets_that_train(const std::string& kind);

// `preset` is a preset's name or a TOML file; `overrides` are "a.b=value" with TOML values, and may
// only change entries that exist. Throws Error naming what is wrong and the choices.
nlohmann::json load_config(const std::string& preset, const std::vector<std::string>& overrides);

// The command line with the flags of its --config file added: "steps = 50" becomes --steps=50, a
// true one its bare flag, a list one flag per value. Flags that the command line gives itself win.
std::vector<std::string> expand_config_flags(std::vector<std::string> arguments);

}  // namespace diffscm::apps
