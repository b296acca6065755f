// Presets and TOML files, as one JSON object.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace diffscm::apps {

// Name -> TOML text of the presets built into the program (configs/*.toml).
const std::map<std::string, std::string>& presets();

// `preset` is a preset's name or a TOML file; `overrides` are "a.b=value" with TOML values, and may only
// change entries that exist. Throws Error naming what is wrong and the choices.
nlohmann::json load_config(const std::string& preset, const std::vector<std::string>& overrides);

}  // namespace diffscm::apps
