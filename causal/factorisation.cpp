#include "causal/factorisation.h"

#include <vector>

namespace diffscm::causal {
namespace {

// Pieces of a line, broken between them; lines after the first are indented.
std::string wrapped(const std::vector<std::string>& pieces, size_t width) {
  std::string text, line;
  for (const std::string& piece : pieces) {
    if (!line.empty() && line.size() + 1 + piece.size() > width) {
      text += line + "\n";
      line = "   ";
    }
    line += (line.empty() ? "" : " ") + piece;
  }
  return text + line;
}

}  // namespace

std::string factorisation(const Graph& graph, const Intervention& intervention, size_t width) {
  std::vector<std::string> head, factors;
  std::string set;
  for (const auto& [node, setting] : intervention) {
    if (!set.empty()) set += ", ";
    set += graph[node].name() + "=" + setting.text;
  }
  const auto is_cut = [&](size_t i) {
    const auto setting = intervention.find(i);
    return setting != intervention.end() && !setting->second.uses_natural;
  };
  for (size_t i = 0; i < graph.size(); ++i) {
    if (is_cut(i)) continue;
    const std::string& name = graph[i].name();
    head.push_back(name + ",");
    const auto setting = intervention.find(i);
    std::string factor = setting == intervention.end() ? "p(" : "p(natural ";
    factor += name;
    for (size_t k = 0; k < graph.parents(i).size(); ++k) {
      const size_t p = graph.parents(i)[k];
      factor += (k == 0 ? " | " : ", ") + graph[p].name();
      if (is_cut(p)) factor += "=" + intervention.at(p).text;
    }
    factor += ")";
    if (setting != intervention.end()) factor += " [" + name + " = " + setting->second.text + "]";
    factors.push_back(std::move(factor));
  }
  if (head.empty()) return "do(" + set + ") sets every node: nothing is left to chance";
  head.front().insert(0, "p(");
  head.back().pop_back();
  head.back() += intervention.empty() ? ")" : " | do(" + set + "))";
  head.push_back("=");
  head.insert(head.end(), factors.begin(), factors.end());
  return wrapped(head, width);
}

}  // namespace diffscm::causal
