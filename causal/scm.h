// A structural causal model: a graph and a mechanism for each node. Sampling, sampling under do(),
// and counterfactuals by abduction, action and prediction (Pearl 2009, section 7.1).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "causal/graph.h"
#include "causal/mechanism.h"
#include "causal/row_random.h"

namespace diffscm::causal {

// do() on one node: what is set, as a function of the node's natural value, which its mechanism
// makes of its own noise and of the parents as they are under all of do(). do(x = 5) does not look
// at it; do(x = natural * 1.1) does. Other nodes cannot be read (as in DoWhy's gcm).
struct Setting {
  std::function<Values(const Values& natural)> set;
  std::string text;          // "5", "natural * 1.1"
  bool uses_natural = true;  // false: a constant, which cuts the node off from its parents
};
// Throws Error unless `value` is one of the node's.
Setting set_to(const Node& node, double value);

using Intervention = std::map<size_t, Setting>;  // by node

// The values of all nodes for a batch of rows; of noise likewise.
using NodeValues = std::vector<Values>;
// Of every node those rows, as Values::select().
NodeValues select_rows(const NodeValues& values, std::span<const int64_t> rows);

// Which rows of the whole work a batch holds, and the seed of their random numbers.
struct Rows {
  uint64_t seed = 0;
  std::vector<int64_t> index;
};
// 0, 1, .., count - 1.
Rows first_rows(uint64_t seed, int64_t count);

struct Prediction {
  NodeValues natural;  // what the mechanisms make; of a node that is set, before it is
  NodeValues value;    // what holds
};

struct CounterfactualRows {
  NodeValues factual{}, noise{}, natural{}, counterfactual{};
};

class StructuralCausalModel {
 public:
  // The mechanisms that the graph names. Throws Error as make_mechanism does, and for a node that
  // names none.
  explicit StructuralCausalModel(Graph graph);
  StructuralCausalModel(Graph graph, std::vector<std::unique_ptr<Mechanism>> mechanisms);

  const Graph& graph() const { return graph_; }
  const Mechanism& mechanism(size_t i) const { return *mechanisms_[i]; }
  Mechanism& mechanism(size_t i) { return *mechanisms_[i]; }
  void move_to(Target target, Dtype layers) {
    for (const auto& mechanism : mechanisms_) mechanism->move_to(target, layers);
  }
  // Of node i, in its order: what Parents is made of. Points into `values`.
  std::vector<const Values*> parent_values(size_t i, const NodeValues& values) const;
  // The numbers of node i in these rows; refers to `rows`.
  RowRandom random(size_t i, kernels::Purpose purpose, const Rows& rows) const;

  NodeValues draw_noise(const Rows& rows) const;
  // No noise for a node whose mechanism cannot abduct. Throws Error on a missing value.
  NodeValues abduct(const NodeValues& factual, const Rows& rows) const;
  // Enough for the counterfactuals under these interventions: of an image, which takes long, only
  // the rows where one of them changes a parent, zeros elsewhere; where there is no such row, none.
  NodeValues abduct(const NodeValues& factual, const Rows& rows,
                    std::span<const Intervention> interventions) const;
  // In topological order. Throws Error when do() sets a value outside the node's range, and where a
  // mechanism's answer is not finite that do() does not set.
  Prediction predict(const NodeValues& noise, const Intervention& intervention) const;

  // p(x), and p(x | do()).
  Prediction sample(const Rows& rows, const Intervention& intervention = {}) const;
  // Abduction, action, prediction; all nodes must be known. A node all of whose parents keep their
  // factual values in a row keeps its own there, to the bit: do() of factual values changes
  // nothing. Throws Error naming a node that cannot be abducted and whose noise is needed.
  CounterfactualRows counterfactual(const NodeValues& factual, const Intervention& intervention,
                                    const Rows& rows) const;
  // The same from noise that was abducted before.
  Prediction counterfactual(const NodeValues& factual, const NodeValues& noise,
                            const Intervention& intervention) const {
    return predict(noise, intervention, &factual, graph_.size());
  }

  // log p(x) = sum of log p(x_i | parents), per row. Throws Error naming a node without density.
  std::vector<double> log_density(const NodeValues& values) const;

 private:
  // The first `count` nodes.
  Prediction predict(const NodeValues& noise, const Intervention& intervention,
                     const NodeValues* factual, size_t count) const;
  Values abduct(size_t i, const NodeValues& factual, const Rows& rows) const;

  Graph graph_;
  std::vector<std::unique_ptr<Mechanism>> mechanisms_;
};

}  // namespace diffscm::causal
