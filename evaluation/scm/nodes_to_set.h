// Which nodes an evaluation sets, one at a time.
#pragma once

#include <string>
#include <vector>

#include "causal/graph.h"

namespace diffscm {

// Those of these names; without names all on which another node depends or, of a graph with an
// image, on which the image does, that are observed. Throws Error for an unknown name, one twice,
// a latent node, and one on which nothing depends.
std::vector<size_t> nodes_to_set(const causal::Graph& graph, const std::vector<std::string>& names);

}  // namespace diffscm
