// Counterfactuals guided by prototypes: Van Looveren & Klaise 2021, "Interpretable counterfactual
// explanations guided by prototypes", arXiv:1907.02584.
#pragma once

#include "data/dataset.h"
#include "diffusion/progress.h"
#include "evaluation/baselines/baseline.h"

namespace diffscm::baselines {

// Defaults as in the authors' MNIST example, for pixels u in a range of length 1.
struct PrototypeOptions {
  double c = 1;        // weight of the classifier's hinge
  int c_steps = 2;     // c is searched: halved when an answer was found, else 10 times larger
  double kappa = 0;    // margin of the hinge
  double beta = 0.1;   // weight of L1, applied by shrinkage
  double gamma = 100;  // weight of the reconstruction error |u - AE(u)|^2
  double theta = 100;  // weight of |encode(u) - prototype|^2
  double learning_rate = 0.01;
  int iterations = 1000;  // per value of c
};
// Throws Error naming the value that cannot be used.
void validate(const PrototypeOptions& options);

struct PrototypeNetworks {
  ImageFunction logits;  // [N, classes], for images x in [-1, 1]
  ImageFunction encode;  // latent, for images u in [0, 1]
  ImageFunction decode;  // latent -> image in [0, 1]
  Tensor prototypes;     // [classes, latent elements]: class_prototypes()
};

// Mean encoding of the first `per_class` images of each class. Throws Error naming an empty class.
Tensor class_prototypes(const ImageFunction& encode, const data::Dataset& dataset,
                        int64_t per_class, Target target);

// Minimises, by FISTA (Beck & Teboulle 2009) over `iterations` steps from u0 = (factual + 1) / 2,
//   c max(0, max_{i != target} p_i - p_target + kappa) + beta |u - u0|_1 + |u - u0|_2^2
//     + gamma |u - decode(encode(u))|^2 + theta |encode(u) - prototype[target]|^2
// and keeps the answer with the smallest beta L1 + L2 among those the classifier calls `target`.
// Difference from the authors' code: the hinge is for the target, not for any other class.
Explanation prototype_guided(const PrototypeNetworks& networks, const Tensor& factual,
                             std::span<const int64_t> targets, const PrototypeOptions& options,
                             const Progress& progress = {});

}  // namespace diffscm::baselines
