// Which nodes an evaluation sets, one at a time.
#pragma once

#include <string>
#include <vector>

#include "causal/graph.h"

namespace diffscm {

// Those of these names; without names all on which another node depends or, of a graph with an
// image, those observed on which the image does. Throws Error for an unknown name, one twice, and
// a node that is not among all of these.
std::vector<size_t> nodes_to_set(const causal::Graph& graph, const std::vector<std::string>& names);

}  // namespace diffscm
