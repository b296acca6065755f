#include "causal/graph.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "causal/file_name.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr size_t kMaxNodes = 100000;
constexpr const char* kKinds[] = {"continuous", "binary", "categorical", "image"};

// "line 7: node "b"", or the node alone.
std::string where(const Node& node) {
  return (node.line > 0 ? fmt::format("line {}: ", node.line) : "") + "node " +
         io::show(node.name());
}

void check(const Node& node) {
  const data::Attribute& a = node.attribute;
  require(!node.name().empty(), "{}a node has no name",
          node.line > 0 ? fmt::format("line {}: ", node.line) : "");
  for (const std::string* text : {&node.name(), &node.column})
    require(io::is_utf8(*text), "{}: {} is not UTF-8", where(node), io::show(*text));
  const size_t length = file_name(node.name()).size();
  require(
      length <= kMaxFileName,
      "{}: its name takes {} characters as a file's, the limit is {} (all but letters, digits, _ "
      "- . take three a byte)",
      where(node), length, kMaxFileName);
  const bool discrete = node.kind == NodeKind::binary || node.kind == NodeKind::categorical;
  require(discrete == a.is_category(), "{} is {}, it {} states", where(node), name_of(node.kind),
          discrete ? "needs" : "cannot have");
  require(node.kind != NodeKind::binary || a.states.size() == 2, "{} is binary, but has {} states",
          where(node), a.states.size());
  require(std::ssize(a.states) <= data::kMaxStates, "{} has {} states, the limit is {}",
          where(node), a.states.size(), data::kMaxStates);
  std::set<std::string> states;
  for (const std::string& state : a.states) {
    if (!states.insert(state).second)
      fail("{} has the state {} twice", where(node), io::show(state));
    if (!io::is_utf8(state)) fail("{}: {} is not UTF-8", where(node), io::show(state));
  }
  require(a.low < a.high, "{} has the range {} to {}: low must be below high", where(node), a.low,
          a.high);
  std::set<std::string> parents;
  for (const std::string& parent : node.parents)
    if (!parents.insert(parent).second)
      fail("{} has the parent {} twice", where(node), io::show(parent));
}

// A cycle among nodes each of which has a parent among them: "a -> b -> a".
std::string cycle(const std::vector<std::vector<size_t>>& parents, const std::vector<bool>& placed,
                  const std::vector<Node>& nodes) {
  size_t at = static_cast<size_t>(std::ranges::find(placed, false) - placed.begin());
  std::vector<size_t> path;  // from child to parent
  while (std::ranges::find(path, at) == path.end()) {
    path.push_back(at);
    at = *std::ranges::find_if(parents[at], [&](size_t p) { return !placed[p]; });
  }
  path.erase(path.begin(), std::ranges::find(path, at));
  path.push_back(at);
  constexpr size_t kShown = 12;
  std::string text;
  for (size_t i = path.size(); i-- > 0;) {
    const bool shown = path.size() <= kShown || i + 2 > path.size() || i < kShown - 2;
    if (shown) text += (text.empty() ? "" : " -> ") + io::show(nodes[path[i]].name());
    if (!shown && i == kShown - 2) text += " -> ..";
  }
  return text;
}

std::vector<size_t> reachable(const std::vector<std::vector<size_t>>& next,
                              std::span<const size_t> from) {
  std::vector<bool> reached(next.size());
  std::vector<size_t> open(from.begin(), from.end()), found;
  while (!open.empty()) {
    const size_t at = open.back();
    open.pop_back();
    for (const size_t to : next[at])
      if (!reached[to]) {
        reached[to] = true;
        open.push_back(to);
      }
  }
  for (size_t i = 0; i < reached.size(); ++i)
    if (reached[i]) found.push_back(i);
  return found;
}

}  // namespace

const char* name_of(NodeKind kind) {
  return kKinds[static_cast<int>(kind)];
}

NodeKind parse_node_kind(std::string_view name) {
  const auto found = std::ranges::find(kKinds, name);
  require(found != std::end(kKinds), "kind {} is unknown: give {}", io::show(name),
          fmt::join(kKinds, ", "));
  return static_cast<NodeKind>(found - std::begin(kKinds));
}

Graph::Graph(std::vector<Node> nodes, std::string name) : name_(std::move(name)) {
  require(io::is_utf8(name_), "the graph's name, {}, is not UTF-8", io::show(name_));
  require(!nodes.empty(), "a graph needs a node");
  require(nodes.size() <= kMaxNodes, "{} nodes, the limit is {}", nodes.size(), kMaxNodes);
  std::map<std::string, size_t> places;
  std::set<std::string> columns;
  std::vector<std::string> names;
  for (size_t i = 0; i < nodes.size(); ++i) {
    check(nodes[i]);
    if (!places.emplace(nodes[i].name(), i).second) fail("{} is declared twice", where(nodes[i]));
    // In tables that are written a latent node's column has its name.
    const std::string& column = nodes[i].is_latent() ? nodes[i].name() : nodes[i].column;
    if (!columns.insert(column).second)
      fail("{} has the column {} of another node", where(nodes[i]), io::show(column));
    names.push_back(nodes[i].name());
  }
  std::vector<std::vector<size_t>> parents(nodes.size()), children(nodes.size());
  std::vector<size_t> missing(nodes.size());  // parents not placed yet
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (const std::string& parent : nodes[i].parents) {
      const auto found = places.find(parent);
      if (found == places.end())
        fail("{} has the unknown parent {}: {}", where(nodes[i]), io::show(parent),
             data::choices(parent, names));
      parents[i].push_back(found->second);
      children[found->second].push_back(i);
    }
    missing[i] = parents[i].size();
  }

  // Kahn 1962, always the first of those that can be placed.
  std::set<size_t> ready;
  for (size_t i = 0; i < nodes.size(); ++i)
    if (missing[i] == 0) ready.insert(i);
  std::vector<size_t> order, place(nodes.size());
  std::vector<bool> placed(nodes.size());
  while (!ready.empty()) {
    const size_t i = *ready.begin();
    ready.erase(ready.begin());
    place[i] = order.size();
    order.push_back(i);
    placed[i] = true;
    for (const size_t child : children[i])
      if (--missing[child] == 0) ready.insert(child);
  }
  require(order.size() == nodes.size(), "the graph has a cycle: {}",
          order.size() == nodes.size() ? "" : cycle(parents, placed, nodes));

  parents_.resize(nodes.size());
  children_.resize(nodes.size());
  for (const size_t i : order) {
    for (const size_t p : parents[i]) {
      parents_[place[i]].push_back(place[p]);
      children_[place[p]].push_back(place[i]);
    }
    nodes_.push_back(std::move(nodes[i]));
  }
  ranks_.resize(nodes_.size());
  for (size_t i = 0; i < nodes_.size(); ++i)
    ranks_[i] = static_cast<uint32_t>(std::distance(places.begin(), places.find(nodes_[i].name())));
}

Graph Graph::in_folder(const std::filesystem::path& folder) const {
  Graph graph = *this;
  for (Node& node : graph.nodes_) node.mechanism.folder = folder;
  return graph;
}

size_t Graph::find(std::string_view name) const {
  const auto found = std::ranges::find_if(nodes_, [&](const Node& n) { return n.name() == name; });
  if (found != nodes_.end()) return static_cast<size_t>(found - nodes_.begin());
  std::vector<std::string> names;
  for (const Node& node : nodes_) names.push_back(node.name());
  fail("there is no node {}: {}", io::show(name), data::choices(name, names));
}

std::vector<size_t> Graph::ancestors(std::span<const size_t> of) const {
  return reachable(parents_, of);
}

std::vector<size_t> Graph::descendants(std::span<const size_t> of) const {
  return reachable(children_, of);
}

bool Graph::is_discrete() const {
  return std::ranges::all_of(nodes_, &Node::is_discrete);
}

std::vector<data::Attribute> Graph::columns() const {
  std::vector<data::Attribute> columns;
  for (const Node& node : nodes_) {
    if (node.is_latent()) continue;
    columns.push_back(node.attribute);
    columns.back().name = node.column;
  }
  return columns;
}

}  // namespace diffscm::causal
