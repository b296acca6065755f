#include "causal/node_text.h"

#include <algorithm>
#include <array>
#include <optional>

#include "engine/io/trim.h"

namespace diffscm::causal {
namespace {

using io::trimmed;

constexpr std::string_view kSigns = "=<>";

// Where the quoted text ends that `text` begins with; npos where none does.
size_t end_of_quotes(std::string_view text) {
  if (!text.starts_with('"')) return std::string_view::npos;
  for (size_t at = 1; at < text.size(); ++at) {
    if (text[at] != '"') continue;
    if (!text.substr(at + 1).starts_with('"')) return at + 1;
    ++at;
  }
  return std::string_view::npos;
}

std::string_view sign_of(std::string_view text) {
  constexpr std::array<std::string_view, 5> kLongerFirst{"<=", ">=", "<", ">", "="};
  const auto found = std::ranges::find_if(
      kLongerFirst, [&](std::string_view sign) { return text.starts_with(sign); });
  return found == kLongerFirst.end() ? "" : text.substr(0, found->size());
}

// The length of the name of a node that `text` begins with, between quotes or up to a comma, a sign
// or the end; the longest one.
std::optional<size_t> leading_name(std::string_view text, const Graph& graph) {
  std::optional<size_t> best;
  const auto consider = [&](size_t length) {
    const std::string_view rest = trimmed(text.substr(length));
    if (rest.empty() || rest.front() == ',' || !sign_of(rest).empty())
      best = std::max(best.value_or(0), length);
  };
  for (const Node& node : graph.nodes())
    if (text.starts_with(node.name())) consider(node.name().size());
  if (const size_t end = end_of_quotes(text); !best && end != std::string_view::npos) consider(end);
  return best;
}

// Where the value ends: at a comma, or the end.
size_t end_of_value(std::string_view text, bool is_number, const Graph& graph) {
  int depth = 0;
  bool may_quote = true;  // only at its beginning, and those of a map's states, a quote is one
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (may_quote)
      if (const size_t length = end_of_quotes(text.substr(at)); length != std::string_view::npos) {
        at += length - 1;
        may_quote = false;
        continue;
      }
    depth += (c == '(') - (c == ')');
    if (c == ',') {
      const std::string_view rest = trimmed(text.substr(at + 1));
      const auto name = leading_name(rest, graph);
      const bool says = name && !sign_of(trimmed(rest.substr(*name))).empty();
      const size_t next = rest.find_first_of("=<>,");
      const bool unknown_says = next != std::string_view::npos && rest[next] != ',';
      if (says || (depth <= 0 && (is_number || name || unknown_says || rest.empty()))) return at;
    }
    if (c != ' ') may_quote = depth > 0 && (c == '(' || c == ',' || c == '>');
  }
  return text.size();
}

}  // namespace

std::string unquoted(std::string_view text) {
  if (text.empty() || end_of_quotes(text) != text.size()) return std::string(text);
  std::string meant;
  for (size_t at = 1; at + 1 < text.size(); ++at) {
    meant += text[at];
    if (text[at] == '"') ++at;
  }
  return meant;
}

std::string quoted(const std::string& text) {
  if (!text.empty() && text.find_first_of(",\"=<>") == std::string::npos &&
      trimmed(text).size() == text.size())
    return text;
  std::string between = "\"";
  for (const char c : text) between += c == '"' ? "\"\"" : std::string(1, c);
  return between + '"';
}

std::string take_name(std::string_view& text, std::string_view end) {
  text = trimmed(text);
  size_t length = end_of_quotes(text);
  if (length == std::string_view::npos) length = std::min(text.find(end), text.size());
  const std::string name = unquoted(trimmed(text.substr(0, length)));
  text = trimmed(text.substr(length));
  return name;
}

std::vector<NodeText> split_nodes(std::string_view text, const Graph& graph) {
  std::vector<NodeText> all;
  for (std::string_view rest = trimmed(text);; rest = trimmed(rest)) {
    const auto known = leading_name(rest, graph);
    const size_t stop = known ? *known : std::min(rest.find_first_of("=<>,"), rest.size());
    NodeText part{.node = unquoted(trimmed(rest.substr(0, stop)))};
    const std::string_view behind = trimmed(rest.substr(stop));
    part.sign = sign_of(behind);
    const std::string_view value = trimmed(behind.substr(part.sign.size()));
    const auto node = std::ranges::find(graph.nodes(), part.node, &Node::name);
    const bool is_number = node != graph.nodes().end() && node->kind == NodeKind::continuous;
    const size_t end = part.sign.empty() ? 0 : end_of_value(value, is_number, graph);
    part.value = trimmed(value.substr(0, end));
    const auto length = static_cast<size_t>(value.data() + end - rest.data());
    part.text = trimmed(rest.substr(0, length));
    all.push_back(part);
    if (length == rest.size()) return all;
    rest.remove_prefix(length + 1);
  }
}

double parse_value(const Node& node, std::string_view text) {
  const auto& states = node.attribute.states;
  const bool is_state = std::ranges::find(states, text) != states.end();
  return node.attribute.parse(is_state ? std::string(text) : unquoted(text));
}

std::string show_value(const Node& node, double value) {
  return quoted(node.attribute.show(value));
}

}  // namespace diffscm::causal
