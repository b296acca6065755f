// A structural causal model in a folder: the graph and what its mechanisms have learned.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "causal/scm.h"

namespace diffscm::causal {

// FOLDER/graph.json and FOLDER/mechanisms/NODE.safetensors, one per node, by its file_name().
std::filesystem::path mechanism_path(const std::filesystem::path& folder, const std::string& node);

// Atomic; the folder must exist.
void write_graph_of_model(const std::filesystem::path& folder, const Graph& graph);

struct ModelFile {
  StructuralCausalModel model;
  std::vector<std::string> notes = {};  // what a person should know about how it was read
};

// A folder as above, or a graph file (formats/graph_file.h) that says everything itself. Throws
// Error naming the file and the node that is not fitted, unless `unfitted` is fine.
ModelFile load_model(const std::filesystem::path& path, bool unfitted = false);

}  // namespace diffscm::causal
