#include <cmath>

#include "causal/formats/graph_file.h"
#include "causal/mechanisms/parameters.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {

using nlohmann::json;
using nlohmann::ordered_json;

ordered_json to_json(const Graph& graph) {
  ordered_json nodes = ordered_json::array();
  for (const Node& node : graph.nodes()) {
    ordered_json j = {{"name", node.name()}, {"kind", name_of(node.kind)}};
    if (node.is_discrete()) j["states"] = node.attribute.states;
    if (std::isfinite(node.attribute.low)) j["low"] = node.attribute.low;
    if (std::isfinite(node.attribute.high)) j["high"] = node.attribute.high;
    j["parents"] = node.parents;
    if (!node.is_latent()) j["column"] = node.column;
    if (!node.mechanism.name.empty()) {
      j["mechanism"] = node.mechanism.name;
      j["parameters"] = node.mechanism.parameters;
    }
    nodes.push_back(std::move(j));
  }
  return {{"name", graph.name()}, {"nodes", std::move(nodes)}};
}

namespace {

Node read_node(const json& entry) {
  require(entry.is_object(), "a node is {}: give {{\"name\": .., \"kind\": .., ..}}", entry.dump());
  Parameters keys(entry);
  Node node{.attribute = {.name = keys.get<std::string>("name")}};
  try {
    node.kind = parse_node_kind(keys.get<std::string>("kind"));
    node.attribute.states = keys.get("states", std::vector<std::string>());
    node.attribute.low = keys.get("low", node.attribute.low);
    node.attribute.high = keys.get("high", node.attribute.high);
    node.parents = keys.get("parents", std::vector<std::string>());
    node.column = keys.get("column", std::string());
    node.mechanism.name = keys.get("mechanism", std::string());
    node.mechanism.parameters = keys.get("parameters", json::object());
    require(node.mechanism.parameters.is_object(), "parameters cannot be {}",
            node.mechanism.parameters.dump());
    keys.finish();
  } catch (const Error& e) {
    fail("node {}: {}", io::show(node.name()), e.what());
  }
  return node;
}

}  // namespace

Graph parse_json_graph(const json& graph, std::string_view where) {
  require(graph.is_object() && graph.contains("nodes") && graph["nodes"].is_array(),
          "{} is not a graph: give {{\"nodes\": [..]}}", where);
  try {
    std::vector<Node> nodes;
    for (const json& entry : graph["nodes"]) nodes.push_back(read_node(entry));
    return Graph(std::move(nodes), Parameters(graph).get("name", std::string()));
  } catch (const Error& e) {
    fail("{}: {}", where, e.what());
  }
}

}  // namespace diffscm::causal
