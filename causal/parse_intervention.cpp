#include "causal/parse_intervention.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>
#include <vector>

#include "causal/expression.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr std::string_view kNatural = "natural";

std::string trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t"), end = text.find_last_not_of(" \t");
  return begin == std::string_view::npos ? "" : std::string(text.substr(begin, end - begin + 1));
}

// At commas outside parentheses and backquotes.
std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts{""};
  int depth = 0;
  bool quoted = false;
  for (const char c : text) {
    if (c == '`') quoted = !quoted;
    if (!quoted) depth += (c == '(') - (c == ')');
    if (c == ',' && depth <= 0 && !quoted) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// "(no->yes, *->natural)": for each natural state, what it becomes.
std::vector<double> state_map(const data::Attribute& attribute, std::string_view text) {
  std::vector<double> becomes(attribute.states.size());
  std::iota(becomes.begin(), becomes.end(), 0.0);
  if (text == kNatural) return becomes;
  std::vector<bool> named(becomes.size());
  std::optional<std::string> others;
  for (const std::string& part : split(text.substr(1, text.size() - 2))) {
    const size_t arrow = part.find("->");
    require(arrow != std::string::npos, "{}: give STATE->STATE", io::show(trimmed(part)));
    const std::string from = trimmed(std::string_view(part).substr(0, arrow));
    const std::string to = trimmed(std::string_view(part).substr(arrow + 2));
    const bool is_others =
        from == "*" && std::ranges::find(attribute.states, "*") == attribute.states.end();
    if (is_others) {
      require(!others, "* twice");
      others = to;
      continue;
    }
    const auto state = static_cast<size_t>(attribute.parse(from));
    require(!named[state], "{} twice", io::show(from));
    named[state] = true;
    if (to != kNatural) becomes[state] = attribute.parse(to);
  }
  if (others && *others != kNatural) {
    const double to = attribute.parse(*others);
    for (size_t k = 0; k < becomes.size(); ++k)
      if (!named[k]) becomes[k] = to;
  }
  return becomes;
}

Setting state_setting_of(const Node& node, const std::string& text) {
  const auto& states = node.attribute.states;
  const bool is_map = text == kNatural || (text.front() == '(' && text.back() == ')');
  if (!is_map || std::ranges::find(states, text) != states.end())
    return set_to(node, node.attribute.parse(text));
  const std::vector<double> becomes = state_map(node.attribute, text);
  if (std::ranges::all_of(becomes, [&](double b) { return b == becomes[0]; }))
    return set_to(node, becomes[0]);
  return {[becomes](const Values& natural) {
            Values values = natural;
            for (double& v : values.numbers) v = becomes[static_cast<size_t>(v)];
            return values;
          },
          text};
}

Setting setting_of(const Node& node, const std::string& text) {
  if (node.is_discrete()) return state_setting_of(node, text);
  require(node.kind == NodeKind::continuous, "do({}): an image cannot be set, its causes can",
          node.name());
  const auto f = std::make_shared<const Expression>(text, std::vector<std::string>{"natural"});
  if (!f->mentions(0)) {
    const double nothing = 0;
    return set_to(node, (*f)({&nothing, 1}));
  }
  return {[f](const Values& natural) {
            Values values = natural;
            for (double& v : values.numbers) v = (*f)({&v, 1});
            return values;
          },
          text};
}

}  // namespace

Intervention parse_intervention(std::string_view text, const Graph& graph) {
  Intervention intervention;
  if (trimmed(text).empty()) return intervention;
  for (const std::string& part : split(text)) {
    const size_t equals = part.find('=');
    require(equals != std::string::npos, "do() {}: give NODE=VALUE", io::show(trimmed(part)));
    const size_t node = graph.find(trimmed(std::string_view(part).substr(0, equals)));
    const std::string value = trimmed(std::string_view(part).substr(equals + 1));
    require(!value.empty(), "do({}): give a value", graph[node].name());
    require(!intervention.contains(node), "do({}) twice", graph[node].name());
    try {
      intervention.emplace(node, setting_of(graph[node], value));
    } catch (const Error& e) {
      fail("do({}={}): {}", graph[node].name(), value, e.what());
    }
  }
  return intervention;
}

}  // namespace diffscm::causal
