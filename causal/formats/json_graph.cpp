#include <cmath>

#include "causal/formats/graph_file.h"
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

Graph parse_json_graph(const json& graph, std::string_view where) {
  std::vector<Node> nodes;
  try {
    for (const json& j : graph.at("nodes")) {
      Node node{.attribute = {.name = j.at("name").get<std::string>()}};
      node.kind = parse_node_kind(j.at("kind").get<std::string>());
      node.attribute.states = j.value("states", std::vector<std::string>());
      node.attribute.low = j.value("low", node.attribute.low);
      node.attribute.high = j.value("high", node.attribute.high);
      node.parents = j.value("parents", std::vector<std::string>());
      node.column = j.value("column", "");
      node.mechanism.name = j.value("mechanism", "");
      node.mechanism.parameters = j.value("parameters", json::object());
      require(node.mechanism.parameters.is_object(), "node {} has parameters that are no object",
              io::show(node.name()));
      nodes.push_back(std::move(node));
    }
    return Graph(std::move(nodes), graph.value("name", ""));
  } catch (const json::exception& e) {
    fail("{} is not a graph: {}", where, e.what());
  } catch (const Error& e) {
    fail("{}: {}", where, e.what());
  }
}

}  // namespace diffscm::causal
