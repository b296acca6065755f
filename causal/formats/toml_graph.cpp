#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "causal/formats/graph_file.h"
#include "engine/io/file.h"
#include "engine/io/toml.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

using nlohmann::json;

int line_of(const toml::node& node) {
  return static_cast<int>(node.source().begin.line);
}

// Where in the file an error is.
class Place {
 public:
  Place(std::string_view file, int line) : text_(fmt::format("{}: line {}", file, line)) {}
  template <class... A>
  void check(bool condition, fmt::format_string<A...> format, A&&... args) const {
    if (!condition) fail("{}: {}", text_, fmt::format(format, std::forward<A>(args)...));
  }

 private:
  std::string text_;
};

json to_json(const toml::node& node, std::string_view file) {
  return io::to_json(node, [&](const toml::node& other) {
    Place(file, line_of(other)).check(false, "dates and times have no meaning here");
  });
}

// Takes the keys of one node's table one by one; what is left are the mechanism's parameters.
class NodeReader {
 public:
  NodeReader(const std::string& name, const toml::table& table, std::string_view file)
      : table_(table), file_(file) {
    node_.attribute.name = name;
    node_.line = line_of(table);
  }

  Node read() {
    read_states_and_kind();
    read_range();
    if (const auto* parents = take("parents")) node_.parents = texts("parents", *parents);
    const bool latent = read_bool("latent");
    node_.column = text("column", latent ? "" : node_.name());
    place().check(!latent || node_.column.empty(),
                  "node {} is latent, and so without a column: give one of the two",
                  io::show(node_.name()));
    place().check(latent || !node_.column.empty(), "node {} has an empty column: say latent = true",
                  io::show(node_.name()));
    node_.mechanism.name = text("mechanism", "");
    for (const auto& [key, value] : table_) {
      if (std::ranges::find(taken_, key.str()) != taken_.end()) continue;
      Place(file_, line_of(value))
          .check(!node_.mechanism.name.empty(),
                 "node {} has the unknown key {}: without a mechanism it has kind, states, range, "
                 "parents, column, latent",
                 io::show(node_.name()), io::show(key.str()));
      node_.mechanism.parameters[std::string(key.str())] = to_json(value, file_);
    }
    return std::move(node_);
  }

 private:
  const toml::node* take(std::string_view key) {
    taken_.push_back(key);
    return table_.get(key);
  }
  Place place() const { return {file_, node_.line}; }
  Place place(const toml::node& node) const { return {file_, line_of(node)}; }

  std::string text(std::string_view key, const std::string& otherwise) {
    const auto* value = take(key);
    if (value == nullptr) return otherwise;
    place(*value).check(value->is_string(), "{} of node {} must be a text", key,
                        io::show(node_.name()));
    return value->as_string()->get();
  }

  bool read_bool(std::string_view key) {
    const auto* value = take(key);
    if (value == nullptr) return false;
    place(*value).check(value->is_boolean(), "{} of node {} must be true or false", key,
                        io::show(node_.name()));
    return value->as_boolean()->get();
  }

  std::vector<std::string> texts(std::string_view key, const toml::node& value) {
    std::vector<std::string> all;
    const auto* list = value.as_array();
    place(value).check(list != nullptr, "{} of node {} must be a list of texts", key,
                       io::show(node_.name()));
    for (const auto& entry : *list) {
      place(entry).check(entry.is_string(), "{} of node {} must be a list of texts", key,
                         io::show(node_.name()));
      all.push_back(entry.as_string()->get());
    }
    return all;
  }

  void read_states_and_kind() {
    const auto* states = take("states");
    if (states != nullptr && states->is_integer()) {
      const int64_t count = states->as_integer()->get();
      place(*states).check(count >= 1 && count <= data::kMaxStates,
                           "node {} cannot have {} states: give 1 to {}", io::show(node_.name()),
                           count, data::kMaxStates);
      node_.attribute = data::numbered_category(node_.name(), count);
    } else if (states != nullptr) {
      node_.attribute.states = texts("states", *states);
      place(*states).check(!node_.attribute.states.empty(),
                           "node {} has no state: give one or more", io::show(node_.name()));
    }
    const auto& named = node_.attribute.states;
    const auto* kind = take("kind");
    if (kind == nullptr) {
      node_.kind = named.empty()       ? NodeKind::continuous
                   : named.size() == 2 ? NodeKind::binary
                                       : NodeKind::categorical;
      return;
    }
    place(*kind).check(kind->is_string(), "kind of node {} must be a text", io::show(node_.name()));
    try {
      node_.kind = parse_node_kind(kind->as_string()->get());
    } catch (const Error& e) {
      place(*kind).check(false, "node {}: {}", io::show(node_.name()), e.what());
    }
    if (node_.kind == NodeKind::binary && states == nullptr)
      node_.attribute = data::numbered_category(node_.name(), 2);
  }

  void read_range() {
    const auto* range = take("range");
    if (range == nullptr) return;
    const auto* ends = range->as_array();
    place(*range).check(node_.kind == NodeKind::continuous,
                        "node {} is {}: a range is for continuous nodes", io::show(node_.name()),
                        name_of(node_.kind));
    const auto number = [&](size_t i) {
      return ends != nullptr && ends->size() == 2 ? (*ends)[i].value<double>() : std::nullopt;
    };
    place(*range).check(number(0) && number(1) && *number(0) < *number(1),
                        "range of node {} must be [low, high], low below high",
                        io::show(node_.name()));
    node_.attribute.low = *number(0);
    node_.attribute.high = *number(1);
  }

  const toml::table& table_;
  std::string_view file_;
  std::vector<std::string_view> taken_;
  Node node_;
};

std::string quoted(const std::string& text) {
  return json(text).dump();  // TOML's basic strings have JSON's escapes
}

std::string quoted(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "" : ", ") + quoted(text);
  return "[" + list + "]";
}

std::string toml_number(double x) {
  std::string text = fmt::format("{}", x);
  if (text.find_first_of(".einf") == std::string::npos) text += ".0";
  return text;
}

std::string toml_value(const json& value) {
  std::string list;
  if (value.is_array()) {
    const bool nested = std::ranges::any_of(value, [](const json& v) { return v.is_array(); });
    for (const json& v : value) list += (nested ? "\n  " : " ") + toml_value(v) + ",";
    if (!nested && !list.empty()) list.pop_back();
    return "[" + (list.empty() ? "" : list.substr(nested ? 0 : 1)) + (nested ? "\n]" : "]");
  }
  if (value.is_object()) {
    for (const auto& [key, v] : value.items())
      list += (list.empty() ? " " : ", ") + quoted(key) + " = " + toml_value(v);
    return "{" + list + " }";
  }
  return value.is_number_float() ? toml_number(value.get<double>()) : value.dump();
}

}  // namespace

Graph parse_toml_graph(std::string_view text, std::string_view where) {
  toml::table file;
  try {
    file = toml::parse(text);
  } catch (const toml::parse_error& e) {
    std::string description(e.description());  // may quote what it read
    std::ranges::replace_if(
        description, [](unsigned char c) { return c < 0x20; }, ' ');
    fail("{}: line {}: {}", where, e.source().begin.line, description);
  }
  for (const auto& [key, value] : file) {
    const bool known = key == "name" || key == "description" || key == "nodes";
    const Place place(where, line_of(value));
    place.check(known, "the unknown key {}: give name, description, nodes", io::show(key.str()));
    place.check(key == "nodes" || value.is_string(), "{} must be a text", key.str());
  }
  const auto* tables = file["nodes"].as_table();
  require(tables != nullptr, "{} has no [nodes.NAME]: a graph needs a node", where);
  std::vector<Node> nodes;
  for (const auto& [name, value] : *tables) {
    const auto* table = value.as_table();
    Place(where, line_of(value))
        .check(table != nullptr, "node {} must be a table", io::show(name.str()));
    nodes.push_back(NodeReader(std::string(name.str()), *table, where).read());
  }
  // toml++ sorts by name; what the file says first comes first.
  std::ranges::stable_sort(nodes, {}, &Node::line);
  try {
    return Graph(std::move(nodes), file["name"].value_or(std::string()));
  } catch (const Error& e) {
    fail("{}: {}", where, e.what());
  }
}

std::string to_toml(const Graph& graph) {
  std::string text;
  if (!graph.name().empty()) text += "name = " + quoted(graph.name()) + "\n";
  for (const Node& node : graph.nodes()) {
    text += fmt::format("\n[nodes.{}]\nkind = \"{}\"\n", quoted(node.name()), name_of(node.kind));
    if (node.is_discrete()) text += "states = " + quoted(node.attribute.states) + "\n";
    if (std::isfinite(node.attribute.low) || std::isfinite(node.attribute.high))
      text += fmt::format("range = [{}, {}]\n", toml_number(node.attribute.low),
                          toml_number(node.attribute.high));
    if (!node.parents.empty()) text += "parents = " + quoted(node.parents) + "\n";
    if (node.is_latent()) text += "latent = true\n";
    if (!node.is_latent() && node.column != node.name())
      text += "column = " + quoted(node.column) + "\n";
    if (node.mechanism.name.empty()) continue;
    text += "mechanism = " + quoted(node.mechanism.name) + "\n";
    for (const auto& [key, value] : node.mechanism.parameters.items())
      text += quoted(key) + " = " + toml_value(value) + "\n";
  }
  return text;
}

}  // namespace diffscm::causal
