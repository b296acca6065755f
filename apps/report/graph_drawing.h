// A causal graph as a picture.
#pragma once

#include <string>

#include "causal/scm.h"

namespace diffscm::apps {

// A complete <svg> element: causes above their effects, in layers (Sugiyama, Tagawa & Toda 1981).
// Rectangles are discrete nodes, rounded ones numbers, framed ones images; latent nodes are dashed.
// Under do(), nodes that are set are filled, with their value, and the edges into them that it cuts
// are dashed red. The same graph gives the same picture.
std::string draw_graph(const causal::Graph& graph, const causal::Intervention& intervention = {});

}  // namespace diffscm::apps
