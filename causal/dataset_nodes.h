// A labelled set of images as the data of a graph with an image in it.
#pragma once

#include <span>
#include <vector>

#include "causal/scm.h"
#include "data/dataset.h"

namespace diffscm::causal {

// Which of a data set's attributes each node is, by the node's column or its name; the image node
// is the pixels. States are matched by name, or, where no name is the same, by
// their order.
class DatasetNodes {
 public:
  // Throws Error unless the graph has one image and every other node that is observed has an
  // attribute of its kind. Refers to both.
  DatasetNodes(const Graph& graph, const data::Dataset& dataset);

  size_t image() const { return image_; }
  // Of latent nodes none.
  NodeValues values(std::span<const int64_t> index) const;
  // The tabular nodes of one row, without the image's descendants, under the names and states of
  // the data set, as its world takes them.
  data::Assignment assignment(const NodeValues& values, int64_t row) const;
  // The inverse of one value: what node i is where attribute a is `value`.
  double to_node(size_t node, double value) const;
  // The attribute that a node is. Null: of the image and of latent nodes.
  const data::Attribute* attribute(size_t node) const;
  // What the data set's world makes of image i when its attributes are those of the row, [H, W, C];
  // empty where nobody knows.
  std::vector<float> true_image(int64_t i, const NodeValues& values, int64_t row) const;

 private:
  struct Match {
    bool found = false;
    size_t attribute = 0;
    std::vector<double> state;  // of the node, by the attribute's; empty: a number
  };
  const Graph& graph_;
  const data::Dataset& dataset_;
  size_t image_ = 0;
  std::vector<Match> matches_;  // by node
};

// Whether a graph's data are images.
bool has_image(const Graph& graph);

}  // namespace diffscm::causal
