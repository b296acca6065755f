// Nodes and their values as text, which questions and do() are made of: "age=27, x<=3".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "causal/graph.h"

namespace diffscm::causal {

// "a, b" between quotes, with those inside doubled as in CSV, as it is meant; other text unchanged.
std::string unquoted(std::string_view text);
// Quoted where the text would be understood otherwise.
std::string quoted(const std::string& text);
// Takes a name from the beginning of `text`, between quotes or up to `end`, or else all of it.
std::string take_name(std::string_view& text, std::string_view end);

// NODE, or NODE=VALUE and the like.
struct NodeText {
  std::string_view text{};  // all of it
  std::string node{};       // the name, without quotes
  std::string_view sign{};  // "", "=", "<", "<=", ">" or ">="
  std::string_view
      value{};  // what follows, with its quotes; a name that is not known may go on in it
};

// At commas, but not those within quotes, and not those that belong to a name or a state: outside
// parentheses a node's name, or a sign, stands behind a comma that parts; inside them both. Names
// and states may stand between quotes.
std::vector<NodeText> split_nodes(std::string_view text, const Graph& graph);

// The index of a state, or the number. Throws Error as Attribute::parse() does.
double parse_value(const Node& node, std::string_view text);
// The inverse.
std::string show_value(const Node& node, double value);

}  // namespace diffscm::causal
