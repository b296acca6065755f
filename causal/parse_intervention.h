// do() as text.
#pragma once

#include <string_view>

#include "causal/scm.h"

namespace diffscm::causal {

// "flu=yes", "age=27, income=natural * 1.1": NODE=VALUE, separated by commas. A discrete node is
// set to a state by name; or to what its natural state becomes, "severity=(high->low)", where *
// stands for the states not named, `natural` for the state as it is, and what is not named stays.
// A number is set to arithmetic (causal/expression.h) in which `natural` is the node's own natural
// value. A node that has a state called like one of these forms means the state, and so does text
// between quotes (causal/node_text.h). Empty text is no intervention. Throws Error naming the part
// that is wrong, an unknown node or state with those there are, and a node that is set twice.
Intervention parse_intervention(std::string_view text, const Graph& graph);

}  // namespace diffscm::causal
