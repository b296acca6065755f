#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "causal/formats/graph_file.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

// The entry `key` of `object`, which `what` names. Throws Error when there is none.
const json& entry(const json& object, const char* key, std::string_view what) {
  require(object.is_object() && object.contains(key), "{} has no entry {}", what, io::show(key));
  return object.at(key);
}

void check_keys(const json& node, std::string_view what) {
  constexpr std::array kKeys{"name",    "kind",   "states",    "low",       "high",
                             "parents", "column", "mechanism", "parameters"};
  for (const auto& [key, value] : node.items())
    require(std::ranges::find(kKeys, key) != kKeys.end(), "{} has the unknown entry {}: give {}",
            what, io::show(key), fmt::join(kKeys, ", "));
}

}  // namespace

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
    const json& list = entry(graph, "nodes", "it");
    require(list.is_array(), "its nodes are no list");
    for (const json& j : list) {
      Node node{.attribute = {.name = entry(j, "name", "a node").get<std::string>()}};
      const std::string what = "node " + io::show(node.name());
      check_keys(j, what);
      node.kind = parse_node_kind(entry(j, "kind", what).get<std::string>());
      node.attribute.states = j.value("states", std::vector<std::string>());
      node.attribute.low = j.value("low", node.attribute.low);
      node.attribute.high = j.value("high", node.attribute.high);
      node.parents = j.value("parents", std::vector<std::string>());
      node.column = j.value("column", "");
      node.mechanism.name = j.value("mechanism", "");
      node.mechanism.parameters = j.value("parameters", json::object());
      require(node.mechanism.parameters.is_object(), "{} has parameters that are no object", what);
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
