// Graphs in files: our own TOML and JSON, and what other programs write.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "causal/graph.h"

namespace diffscm::causal {

struct GraphFile {
  Graph graph;
  std::vector<std::string> notes = {};  // what a person should know about how it was read
};

// By its ending, in small letters: .toml (below), .json, .bif (bif.h), .dot, .gv or .txt (dot.h:
// DOT or DAGitty). Throws Error naming the file (`where`), the line where there is one, and what is
// wrong.
GraphFile parse_graph(std::string_view text, std::string_view ending, std::string_view where);
// Mechanisms name further files from this one's folder.
GraphFile read_graph(const std::filesystem::path& path);
// By its ending: .toml, .json, .bif, .dot or .gv; atomic. Notes say what the format cannot hold.
std::vector<std::string> write_graph(const std::filesystem::path& path, const Graph& graph);

// A TOML graph: a table [nodes.NAME] per node, in any order, of
//   kind = "continuous" | "binary" | "categorical" | "image"   else what `states` say
//   states = ["no", "yes"], or their number; binary nodes have "0", "1" if it is not there
//   range = [low, high]            of a continuous node; -inf, inf if it is not there
//   parents = ["age", ..]
//   column = "AGE"                 of the data; the node's name if it is not there
//   latent = true                  no column: nobody observes it
//   mechanism = "table"            and its parameters: all other keys
// and, beside [nodes], a `name` and a `description`. `where` names the text in errors.
Graph parse_toml_graph(std::string_view text, std::string_view where);
std::string to_toml(const Graph& graph);

// The same as JSON: {"name": .., "nodes": [{"name": .., "kind": .., ..}]}. What is written is read
// back to the bit.
Graph parse_json_graph(const nlohmann::json& json, std::string_view where);
nlohmann::ordered_json to_json(const Graph& graph);

}  // namespace diffscm::causal
