// What an image shows: its attributes, read by measuring or by networks that had no part in making
// it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "causal/dataset_nodes.h"
#include "models/checkpoint.h"
#include "models/classifier.h"
#include "models/oracle.h"
#include "models/regressor.h"

namespace diffscm {

// Reads attributes off an image that descends from image i of the data: one number per node of the
// graph, NaN where it cannot tell.
using AttributeReader = std::function<std::vector<double>(int64_t i, std::span<const float> image)>;
struct ImageReader {
  std::string name;
  AttributeReader read;
};

// What the world of the data measures (data/world.h), under the graph's names and states. Refers
// to all three.
AttributeReader world_reader(const causal::Graph& graph, const data::Dataset& dataset,
                             const causal::DatasetNodes& nodes);

// A network that reads one node off clean images: an oracle; or a classifier or a regressor of
// noisy ones, asked at t = 0.
class NodeJudge {
 public:
  // Throws Error when the file holds something else, or its network does not fit the node or the
  // images.
  NodeJudge(const causal::Graph& graph, size_t node, const std::string& file,
            const data::Dataset& dataset, Target target);

  size_t node() const { return node_; }
  const ModelInfo& info() const { return info_; }
  // The state, or the number. `image`: [1, H, W, C] where the network is.
  double read(const Tensor& image) const { return read_(image); }

 private:
  template <class Network>
  std::shared_ptr<const Network> load(const std::string& file, Target target);

  size_t node_;
  ModelInfo info_;
  std::function<double(const Tensor&)> read_;
};

// All of them as one reader of images [H, W, C] like those of `dataset`.
AttributeReader judge_reader(std::vector<NodeJudge> judges, size_t nodes,
                             const data::Dataset& dataset, Target target);

}  // namespace diffscm
