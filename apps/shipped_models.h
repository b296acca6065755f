// The models and causal graphs that came with the program.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace diffscm::apps {

// The file of the shipped model of that name ("mnist-unet"): they lie in weights/ of the source
// tree or in share/diffscm/weights where the program was installed.
std::optional<std::filesystem::path> shipped_model(const std::string& name);

// `given`, if there is such a file or folder; else the file of the shipped model of that name.
// Throws Error listing the names when there is neither.
std::string find_model(const std::string& given);

// Likewise of causal graphs ("asia"): in graphs/ or share/diffscm/graphs, in any format.
std::string find_graph(const std::string& given);

}  // namespace diffscm::apps
