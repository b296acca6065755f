// The crowd that counterfactual images are compared with: images of the data by their attributes,
// and as networks see them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "causal/dataset_nodes.h"
#include "evaluation/metrics/cld.h"
#include "evaluation/metrics/realism.h"
#include "models/oracle.h"

namespace diffscm {

// Images as networks see them, a row each; without the network no rows.
struct SeenImages {
  Gaussians latent;  // the VAE's posteriors
  Matrix features;   // the oracle's

  void append(const SeenImages& more);
};

// Networks that are asked what images look like; null: nobody.
struct ImageJudges {
  const Vae* vae = nullptr;
  const Oracle* oracle = nullptr;
  Target target = Target::cpu;  // where both are

  SeenImages see(const Tensor& images) const;
};

class ImageReference {
 public:
  static constexpr int64_t kMost = 5000;

  // The first kMost images of `dataset`. Throws Error where a network does not fit its images.
  // Refers to the graph and the networks.
  ImageReference(const causal::Graph& graph, const data::Dataset& dataset,
                 const ImageJudges& judges);

  const ImageJudges& judges() const { return judges_; }
  const causal::NodeValues& values() const { return values_; }  // of all nodes, and the images
  const SeenImages& seen() const { return seen_; }

  // Frechet distance of the oracle's features of some images to those of these. NaN: of fewer than
  // two images, here or there, and without an oracle.
  double realism(const Matrix& features) const;
  // The image whose attributes are nearest to those of row `row`, as deviations; states count most.
  std::span<const float> nearest(const causal::NodeValues& wanted, int64_t row) const;
  // The images where a node is `value`: states are the same; of numbers the nearest tenth.
  std::vector<size_t> members(size_t node, double value) const;

 private:
  const causal::Graph& graph_;
  ImageJudges judges_;
  size_t image_ = 0;
  causal::NodeValues values_;
  std::vector<double> scale_;  // standard deviation by node
  SeenImages seen_;
  Moments look_;  // of the features
};

}  // namespace diffscm
