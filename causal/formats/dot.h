// Graphs as DOT (Graphviz) and DAGitty write them: structure, and a little about the nodes.
#pragma once

#include <string>
#include <string_view>

#include "causal/formats/graph_file.h"

namespace diffscm::causal {

// DOT: digraph NAME { A -> B -> C; {A B} -> D; E [..]; subgraph { .. } }. The attributes kind,
// states ("no,yes"; those with commas between quotes, as in CSV) and latent, as to_dot writes them,
// are understood, and observed="no" (DoWhy); others are skipped. `a:b` is node a, port b, as DOT
// has it: a note says so. DAGitty: dag { A [exposure] B [pos="0,1"] A -> B; C <- B; A <-> C }.
// `latent` and `unobserved` are nodes that nobody observes; so is the common cause that A <-> C
// stands for, which becomes a node "A<->C". A node is continuous unless it says otherwise, and has
// no mechanism. Throws Error naming `where` and the line, also for a graph or an edge without
// direction.
GraphFile parse_dot(std::string_view text, std::string_view where);

std::string to_dot(const Graph& graph);

}  // namespace diffscm::causal
