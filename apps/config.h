// Presets and TOML files, as one JSON object.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace diffscm::apps {

// Name -> TOML text of the presets built into the program (configs/*.toml).
const std::map<std::string, std::string>& presets();

// The names of those that have [SECTION], and "FILE", separated by "|".
std::string presets_with(const std::string& section);

// `preset` is a preset's name or a TOML file; `overrides` are "a.b=value" with TOML values, and may
// only change entries that exist. Throws Error naming what is wrong and the choices.
nlohmann::json load_config(const std::string& preset, const std::vector<std::string>& overrides);

// The command line with the flags of its --config file added: "steps = 50" becomes --steps=50, a
// true one its bare flag, a list one flag per value. Flags that the command line gives itself win.
struct ConfigFlags {
  std::vector<std::string> arguments;
  std::string file;                      // of --config; empty without one
  std::set<std::string> from_file = {};  // the flags that it gave: "--steps"

  // "FILE: " if `message` begins with a flag that the file gave, else nothing.
  std::string source_of(const std::string& message) const;
};
ConfigFlags expand_config_flags(std::vector<std::string> arguments);

}  // namespace diffscm::apps
