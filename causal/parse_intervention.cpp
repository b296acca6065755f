#include "causal/parse_intervention.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>
#include <vector>

#include "causal/expression.h"
#include "causal/node_text.h"
#include "engine/io/file.h"
#include "engine/io/trim.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr std::string_view kNatural = "natural";

// "(no->yes, *->natural)": for each natural state, what it becomes.
std::vector<double> state_map(const data::Attribute& attribute, std::string_view text) {
  std::vector<double> becomes(attribute.states.size());
  std::iota(becomes.begin(), becomes.end(), 0.0);
  if (text == kNatural) return becomes;
  std::vector<bool> named(becomes.size());
  std::optional<std::string> others;
  text = text.substr(1, text.size() - 2);
  while (!io::trimmed(text).empty()) {
    const std::string_view part = text;
    const std::string from = take_name(text, "->");
    require(text.starts_with("->"), "{}: give STATE->STATE", io::show(part));
    text.remove_prefix(2);
    const std::string to = take_name(text, ",");
    require(text.empty() || text.front() == ',', "{}: give STATE->STATE", io::show(part));
    text.remove_prefix(std::min<size_t>(text.size(), 1));
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
    return set_to(node, parse_value(node, text));
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
  require(node.kind == NodeKind::continuous, "an image cannot be set, its causes can");
  const std::string arithmetic = unquoted(text);
  for (const std::string& name : names_in(arithmetic))
    require(name == kNatural, "{} is not a number: give one, or arithmetic as in natural * 1.1",
            io::show(name));
  const std::vector<std::string> names{std::string(kNatural)};
  const auto f = std::make_shared<const Expression>(arithmetic, names);
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
  if (io::trimmed(text).empty()) return intervention;
  for (const NodeText& part : split_nodes(text, graph)) {
    require(part.sign == "=", "do() {}: give NODE=VALUE", io::show(part.text));
    const size_t node = graph.find(part.node);
    require(!part.value.empty(), "do({}): give a value", part.node);
    require(!intervention.contains(node), "do({}) twice", part.node);
    try {
      intervention.emplace(node, setting_of(graph[node], std::string(part.value)));
    } catch (const Error& e) {
      fail("do({}): {}", part.text, e.what());
    }
  }
  return intervention;
}

}  // namespace diffscm::causal
