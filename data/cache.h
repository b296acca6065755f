// Where data that are fetched or made once are kept: ($XDG_CACHE_HOME or ~/.cache)/diffscm.
#pragma once

#include <filesystem>
#include <string_view>

namespace diffscm::data {

// The folder of that name; it need not exist.
std::filesystem::path cache_folder(std::string_view name);

}  // namespace diffscm::data
