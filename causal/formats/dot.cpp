#include "causal/formats/dot.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "causal/formats/words.h"
#include "causal/node_text.h"

namespace diffscm::causal {
namespace {

constexpr int kMaxDepth = 100;
constexpr size_t kMaxEdges = 10'000'000;

bool equals(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, [](unsigned char c) { return std::tolower(c); });
}

// The first word, "strict" aside, after blanks and comments: what kind of text it is.
std::string_view first_word(std::string_view text) {
  const auto skip_to = [&](std::string_view end) {
    const size_t at = text.find(end);
    text.remove_prefix(at == std::string_view::npos ? text.size() : at + end.size());
  };
  while (!text.empty()) {
    if (text.starts_with("//") || text.starts_with("#")) {
      skip_to("\n");
    } else if (text.starts_with("/*")) {
      skip_to("*/");
    } else if (!std::isalpha(static_cast<unsigned char>(text[0]))) {
      text.remove_prefix(1);
    } else {
      size_t length = 0;
      while (length < text.size() && std::isalpha(static_cast<unsigned char>(text[length])))
        ++length;
      const std::string_view word = text.substr(0, length);
      if (!equals(word, "strict")) return word;
      text.remove_prefix(length);
    }
  }
  return {};
}

WordRules rules_for(std::string_view text) {
  constexpr std::string_view kMarks = "{}[];,=:";
  // DAGitty has more arrows that begin with <, DOT has texts in <..>.
  if (first_word(text).ends_with("graph"))
    return {.marks = kMarks,
            .arrows = {"<->", "->", "<-", "--"},
            .hash_comments = true,
            .angle_quotes = true};
  return {.marks = kMarks,
          .arrows = {"<->", "->", "<-", "--", "@->", "<-@", "@-@", "@--", "--@"},
          .hash_comments = true};
}

class DotReader {
 public:
  DotReader(std::string_view text, std::string_view where)
      : words_(split_words(text, where, rules_for(text)), where), where_(where) {}

  GraphFile read() {
    words_.take("strict");
    const Word type = words_.next();
    if (!equals(type.text, "digraph") && !equals(type.text, "dag"))
      words_.fail_at(type,
                     "{} is not a directed acyclic graph: give digraph {{ .. }} or dag {{ .. }}",
                     io::show(type.text));
    const std::string name = words_.peek().is("{") ? "" : words_.next().text;
    words_.expect("{");
    read_statements(0);
    words_.take(";");
    if (!words_.at_end())
      words_.fail_at(words_.peek(), "{} after the end of the graph", io::show(words_.peek().text));
    try {
      return {Graph(std::move(nodes_), name), std::move(notes_)};
    } catch (const Error& e) {
      fail("{}: {}", where_, e.what());
    }
  }

 private:
  using Nodes = std::vector<size_t>;

  // Up to the closing brace, which is taken; all nodes that were mentioned.
  Nodes read_statements(int depth) {
    Nodes mentioned;
    while (!words_.take("}")) {
      if (words_.take(";") || words_.take(",")) continue;
      for (const size_t node : read_statement(depth)) mentioned.push_back(node);
    }
    return mentioned;
  }

  Nodes read_statement(int depth) {
    for (const char* word : {"graph", "node", "edge"})
      if (words_.peek().is(word)) {
        const Word first = words_.next();
        if (words_.peek().is("[")) {
          skip_attributes();
          return {};
        }
        return read_edges(read_node(first), depth);
      }
    if (words_.peek().is("{") || words_.peek().is("subgraph"))
      return read_edges(read_group(depth), depth);
    const Word first = words_.next();
    if (words_.take("=")) {
      words_.next();
      return {};
    }
    return read_edges(read_node(first), depth);
  }

  Nodes read_group(int depth) {
    const Word first = words_.peek();
    if (depth == kMaxDepth) words_.fail_at(first, "more than {} groups are open", kMaxDepth);
    if (words_.take("subgraph") && !words_.peek().is("{")) words_.next();
    words_.expect("{");
    return read_statements(depth + 1);
  }

  Nodes read_node(const Word& word) {
    if (!word.quoted && word.text.size() == 1 &&
        std::string_view("{}[];,=:").find(word.text[0]) != std::string_view::npos)
      words_.fail_at(word, "{} where a node should be", io::show(word.text));
    if (!word.quoted && word.text.starts_with('#'))
      words_.fail_at(word, "a comment with # is a whole line: give //, or a name between quotes");
    while (words_.take(":")) {
      const Word port = words_.next();
      notes_.push_back(
          fmt::format("line {}: {}:{} is node {}, port {}; a name with a colon needs quotes",
                      word.line, word.text, port.text, word.text, port.text));
    }
    const auto [found, added] = places_.emplace(word.text, nodes_.size());
    if (added)
      nodes_.push_back({.attribute = {.name = word.text}, .column = word.text, .line = word.line});
    return {found->second};
  }

  // What follows the first end of an edge, or a node alone.
  Nodes read_edges(Nodes from, int depth) {
    Nodes mentioned = from;
    bool alone = true;
    while (true) {
      const Word arrow = words_.peek();
      const bool right = words_.take("->"), left = !right && words_.take("<-"),
                 both = !right && !left && words_.take("<->");
      if (!right && !left && !both) {
        for (const char* other : {"--", "@->", "<-@", "@-@", "@--", "--@"})
          if (arrow.is(other))
            words_.fail_at(arrow, "the edge {} has no direction: a graph needs -> everywhere",
                           io::show(arrow.text));
        break;
      }
      alone = false;
      const bool group = words_.peek().is("{") || words_.peek().is("subgraph");
      const Nodes to = group ? read_group(depth) : read_node(words_.next());
      if (edges_ += from.size() * to.size(); edges_ > kMaxEdges)
        words_.fail_at(arrow, "more than {} edges", kMaxEdges);
      for (const size_t a : from)
        for (const size_t b : to) {
          if (both)
            add_common_cause(a, b, arrow.line);
          else
            add_edge(right ? a : b, right ? b : a);
        }
      mentioned.insert(mentioned.end(), to.begin(), to.end());
      from = to;
    }
    if (words_.peek().is("[")) {
      if (alone && from.size() == 1)
        read_attributes(nodes_[from[0]]);
      else
        skip_attributes();
    }
    return mentioned;
  }

  void add_edge(size_t parent, size_t child) {
    std::vector<std::string>& parents = nodes_[child].parents;
    const std::string& name = nodes_[parent].name();
    if (std::ranges::find(parents, name) == parents.end()) parents.push_back(name);
  }

  void add_common_cause(size_t a, size_t b, int line) {
    Word cause{nodes_[a].name() + "<->" + nodes_[b].name(), line, true};
    const size_t node = read_node(cause)[0];
    nodes_[node].column.clear();
    add_edge(node, a);
    add_edge(node, b);
    notes_.push_back(fmt::format("line {}: {} stands for a common cause that nobody observes", line,
                                 io::show(cause.text)));
  }

  void skip_attributes() {
    Node nobody;
    read_attributes(nobody);
  }

  // [key=value, flag; ..], any number of them.
  void read_attributes(Node& node) {
    while (words_.take("["))
      while (!words_.take("]")) {
        if (words_.take(",") || words_.take(";")) continue;
        const Word key = words_.next();
        std::string value;
        if (words_.take("=")) value = words_.next().text;
        set(node, key, value);
      }
  }

  void set(Node& node, const Word& key, const std::string& value) {
    if (key.text == "latent" || key.text == "unobserved") {
      if (!equals(value, "false") && !equals(value, "no")) node.column.clear();
    } else if (key.text == "observed") {
      if (equals(value, "no") || equals(value, "false")) node.column.clear();
    } else if (key.text == "kind") {
      try {
        node.kind = parse_node_kind(value);
      } catch (const Error& e) {
        notes_.push_back(fmt::format("line {}: {}", key.line, e.what()));
      }
    } else if (key.text == "states") {
      node.attribute.states.clear();
      for (std::string_view rest = value;; rest.remove_prefix(1)) {
        node.attribute.states.push_back(take_name(rest, ","));
        if (rest.empty()) break;
        if (rest.front() != ',')
          words_.fail_at(key, "states {}: {} stands beside a quoted one", io::show(value),
                         io::show(rest));
      }
      if (node.kind == NodeKind::continuous)
        node.kind = node.attribute.states.size() == 2 ? NodeKind::binary : NodeKind::categorical;
    }
  }

  WordReader words_;
  std::string_view where_;
  std::vector<Node> nodes_;
  std::map<std::string, size_t> places_;
  std::vector<std::string> notes_;
  size_t edges_ = 0;
};

std::string in_dot(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace

GraphFile parse_dot(std::string_view text, std::string_view where) {
  return DotReader(text, where).read();
}

std::string to_dot(const Graph& graph) {
  std::string text = fmt::format("digraph {} {{\n", in_dot(graph.name()));
  for (const Node& node : graph.nodes()) {
    std::string states;
    for (const std::string& state : node.attribute.states) {
      if (!states.empty()) states += ',';
      states += quoted(state);
    }
    text += fmt::format("  {} [kind={}", in_dot(node.name()), name_of(node.kind));
    if (node.is_discrete()) text += ", states=" + in_dot(states);
    if (node.is_latent()) text += ", latent=true";
    text += "];\n";
  }
  for (const Node& node : graph.nodes())
    for (const std::string& parent : node.parents)
      text += fmt::format("  {} -> {};\n", in_dot(parent), in_dot(node.name()));
  return text + "}\n";
}

}  // namespace diffscm::causal
