// Places for the nodes of a directed acyclic graph, in layers from causes to effects.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace diffscm::apps {

struct LayeredGraph {
  std::vector<double> widths;                    // of the nodes
  std::vector<std::pair<size_t, size_t>> edges;  // (cause, effect), nodes in topological order
};

struct Layout {
  std::vector<size_t> layer;   // of each node, 0 on top
  std::vector<double> centre;  // of each node: x, from 0
  // Of each edge: its x in the layers between its ends.
  std::vector<std::vector<double>> bends;
  double width = 0;
  size_t layers = 0;
};

// Layers by longest path; order within them by sweeps of barycentres, the best by crossings; x by
// least squares to the neighbours, with at least `gap` between boxes. Deterministic. Source:
// Sugiyama, Tagawa & Toda 1981, "Methods for visual understanding of hierarchical system
// structures".
Layout lay_out(const LayeredGraph& graph, double gap);

}  // namespace diffscm::apps
