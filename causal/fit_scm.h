// Fitting a whole causal model, node by node, into a folder.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "causal/scm.h"

namespace diffscm::causal {

// A number that has causes.
bool is_inner_number(const Node& node);

// The graph with a mechanism for every node that has none: roots empirical; discrete nodes with
// discrete parents a table, other discrete nodes categorical-network; numbers diffusion; images
// image-diffusion. With `numbers` nothing that the graph says of other nodes than images is kept:
// numbers with parents get that mechanism, the rest as above.
Graph with_mechanisms(const Graph& graph, const std::optional<MechanismSpec>& numbers = {});

// Values of all nodes from the columns of a table; of latent nodes none.
NodeValues node_values(const Graph& graph, const data::Table& table);

struct ScmFitProgress {
  size_t node = 0, nodes = 0;  // in topological order
  std::string name, note;
  double done = 0;        // of this node, 0 to 1
  bool finished = false;  // and in its file
};
struct ScmFitOptions {
  uint64_t seed = 0;
  Target target = Target::cpu;
  Dtype layers = Dtype::f32;
  std::function<void(const ScmFitProgress&)> progress = {};  // what it throws ends the fit
  std::function<bool()> stop = {};                           // causal/mechanism.h
};

// Throws Error for a latent node that must learn, or whose child must, naming both.
void require_fittable(const StructuralCausalModel& model);

// Fits the mechanisms to `data`, rows without missing values, and writes each to `folder`
// (causal/model_folder.h) when it is done. Nodes whose file is there already are left alone, and a
// network goes on from its checkpoint in "training/NODE", so that a fit that was stopped, or
// killed, ends in the bits in which it would have ended. Node i's numbers are a function of (seed,
// its name). Throws Error as require_fittable(), and as Mechanism::fit does, naming the node.
void fit_scm(const Graph& graph, const NodeValues& data, const std::filesystem::path& folder,
             const ScmFitOptions& options);

}  // namespace diffscm::causal
