// All metrics of a counterfactual behind one door: loads the networks that judge, keeps the
// reference set encoded, scores images by all metrics of the table (evaluation/metrics/table.h).
//
//   Evaluator evaluator({.vae = "weights/mnist-vae.safetensors",
//                        .autoencoders = "weights/mnist-autoencoders.safetensors",
//                        .oracle = "weights/mnist-oracle.safetensors"},
//                       data::load_dataset("mnist", data::Split::train), Target::cpu);
//   evaluator.set_guide(guide);  // optional: [N,H,W,C] -> p(class | image)
//   std::vector<Metrics> m = evaluator.score(factual, counterfactual, labels, targets);
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "evaluation/metrics/table.h"
#include "models/autoencoder.h"
#include "models/checkpoint.h"
#include "models/oracle.h"
#include "models/vae.h"

namespace diffscm {

struct EvaluatorFiles {
  std::filesystem::path vae, autoencoders, oracle;
};

class Evaluator {
 public:
  using Guide = std::function<ClassProbabilities(const Tensor& images)>;

  // `reference` gives CLD its sets S_c: the training images. `per_class`: the first so many of each
  // class, 0: all. Throws Error when a file is of another kind, or networks and data disagree about
  // the images' shape or the number of classes.
  Evaluator(const EvaluatorFiles& files, const data::Dataset& reference, Target target,
            int64_t per_class = 0);

  void set_guide(Guide guide) { guide_ = std::move(guide); }

  int64_t classes() const { return oracle_.model.config().classes; }
  const Oracle& oracle() const { return oracle_.model; }
  const Vae& vae() const { return vae_.model; }
  const Autoencoders& autoencoders() const { return autoencoders_.model; }
  // For run.json: path, sha256 and configuration of each network.
  std::vector<const ModelInfo*> models() const;

  // What the networks say of each image; images [N,H,W,C] in [-1, 1] on any target. `truth`: the
  // true counterfactuals (evaluation/metrics/truth.h), or empty. No result depends on what else is
  // in the batch. Throws Error for shapes, classes or numbers (NaN) that make no sense.
  Judgement judge(const Tensor& factual, const Tensor& counterfactual,
                  std::span<const int64_t> factual_class, std::span<const int64_t> target_class,
                  const Tensor& truth = {}) const;
  // The metrics of that, one entry per image.
  std::vector<Metrics> score(const Tensor& factual, const Tensor& counterfactual,
                             std::span<const int64_t> factual_class,
                             std::span<const int64_t> target_class, const Tensor& truth = {}) const;
  // One image, [H,W,C] or [1,H,W,C].
  Metrics score(const Tensor& factual, const Tensor& counterfactual, int64_t factual_class,
                int64_t target_class) const;

  // The oracle's features, for set metrics: compute those of the real images once.
  Matrix features(const Tensor& images) const;

 private:
  Target target_;
  LoadedModel<Vae> vae_;
  LoadedModel<Autoencoders> autoencoders_;
  LoadedModel<Oracle> oracle_;
  CldReference reference_;
  Guide guide_;
};

}  // namespace diffscm
