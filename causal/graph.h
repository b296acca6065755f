// The graph of a structural causal model: nodes, their parents and what becomes of them, as data.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/attribute.h"

namespace diffscm::causal {

// continuous: a number within the range. binary, categorical: one of named states, two or any
// number of them. image: [H, W, C] in [-1, 1].
enum class NodeKind { continuous, binary, categorical, image };
const char* name_of(NodeKind kind);
// Throws Error naming the choices.
NodeKind parse_node_kind(std::string_view name);

// Which mechanism a node has, and what it is told: the other keys of the TOML table, as JSON.
struct MechanismSpec {
  std::string name;  // causal/mechanisms/registry.cpp; empty: the graph does not say
  nlohmann::json parameters = nlohmann::json::object();
  // From which the files among the parameters are named: that of the graph's file. Empty: they
  // cannot be found, as in a fitted model, which holds what was in them.
  std::filesystem::path folder = {};
};

struct Node {
  data::Attribute attribute;  // its name; states of binary and categorical, range of continuous
  NodeKind kind = NodeKind::continuous;
  std::vector<std::string> parents = {};  // in the order in which its mechanism sees them
  std::string column = {};                // of the data; empty: latent, nobody observes it
  MechanismSpec mechanism = {};
  int line = 0;  // of the file that declares it, for messages; 0: unknown

  const std::string& name() const { return attribute.name; }
  bool is_discrete() const { return attribute.is_category(); }
  bool is_latent() const { return column.empty(); }
};

// A directed acyclic graph, its nodes in a topological order: parents before children, otherwise as
// they were given. Nodes are referred to by their place in it.
class Graph {
 public:
  // Throws Error naming the line and the node: no node or no name, one longer than kMaxFileName as
  // a file_name(), a name twice, an unknown parent, a parent twice, a cycle, states or ranges that
  // do not fit the kind, a column twice.
  explicit Graph(std::vector<Node> nodes, std::string name = {});

  // With MechanismSpec::folder of all nodes.
  Graph in_folder(const std::filesystem::path& folder) const;

  const std::string& name() const { return name_; }
  size_t size() const { return nodes_.size(); }
  const Node& operator[](size_t i) const { return nodes_[i]; }
  std::span<const Node> nodes() const { return nodes_; }
  // Throws Error naming the nodes there are, or the nearest of many.
  size_t find(std::string_view name) const;

  const std::vector<size_t>& parents(size_t i) const { return parents_[i]; }
  const std::vector<size_t>& children(size_t i) const { return children_[i]; }
  // In topological order, without the nodes themselves unless they are of each other.
  std::vector<size_t> ancestors(std::span<const size_t> of) const;
  std::vector<size_t> descendants(std::span<const size_t> of) const;
  // The place of the node's name among all names in order: the same however the lines are ordered.
  // Random numbers are keyed by it.
  uint32_t rank(size_t i) const { return ranks_[i]; }
  bool is_discrete() const;  // all nodes are

  // What is wanted of a table: the attribute of each node that has a column, under the column's
  // name, in topological order.
  std::vector<data::Attribute> columns() const;

 private:
  std::string name_;
  std::vector<Node> nodes_;
  std::vector<std::vector<size_t>> parents_, children_;
  std::vector<uint32_t> ranks_;
};

}  // namespace diffscm::causal
