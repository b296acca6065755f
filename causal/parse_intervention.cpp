#include "causal/parse_intervention.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "causal/expression.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

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

Setting setting_of(const Node& node, const std::string& text) {
  if (node.is_discrete()) return set_to(node, node.attribute.parse(text));
  require(node.kind == NodeKind::continuous, "do({}): an image cannot be set, its causes can", node.name());
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
