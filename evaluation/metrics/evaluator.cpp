#include "evaluation/metrics/evaluator.h"

#include "evaluation/metrics/fits_images.h"

namespace diffscm {
namespace {

constexpr int64_t kBatch = 200;

void require_same_classes(const ModelInfo& info, const data::Dataset& dataset, int64_t classes) {
  require(classes == dataset.classes, "{} is for {} classes, {} has {}", info.path, classes,
          dataset.name, dataset.classes);
}

// Before the reference set is encoded, which takes longer than finding out.
const Vae& checked(const LoadedModel<Vae>& vae, const LoadedModel<Autoencoders>& autoencoders,
                   const LoadedModel<Oracle>& oracle, const data::Dataset& dataset) {
  const auto& a = autoencoders.model.config();
  const auto& o = oracle.model.config();
  require_fits_images(vae.model.config(), dataset, vae.info.path);
  require_fits_images(a, dataset, autoencoders.info.path);
  require_fits_images(o, dataset, oracle.info.path);
  require_same_classes(autoencoders.info, dataset, a.classes);
  require_same_classes(oracle.info, dataset, o.classes);
  return vae.model;
}

Tensor one_image(const Tensor& image, const char* what) {
  require(static_cast<bool>(image), "{} is empty: give one image", what);
  Shape shape = image.shape();
  if (shape.size() == 3) shape.insert(shape.begin(), 1);
  require(shape.size() == 4 && shape[0] == 1, "{} is {}: give one image [H, W, C]", what,
          to_string(image.shape()));
  return image.reshape(shape);
}

}  // namespace

Evaluator::Evaluator(const EvaluatorFiles& files, const data::Dataset& reference, Target target,
                     int64_t per_class)
    : target_(target),
      vae_(load_model<Vae>(files.vae, target)),
      autoencoders_(load_model<Autoencoders>(files.autoencoders, target)),
      oracle_(load_model<Oracle>(files.oracle, target)),
      reference_(checked(vae_, autoencoders_, oracle_, reference), reference, per_class, target) {}

std::vector<const ModelInfo*> Evaluator::models() const {
  return {&vae_.info, &autoencoders_.info, &oracle_.info};
}

Judgement Evaluator::judge(const Tensor& factual, const Tensor& counterfactual,
                           std::span<const int64_t> factual_class,
                           std::span<const int64_t> target_class, const Tensor& truth) const {
  require_images(factual, "factual");
  require_images(counterfactual, "counterfactual");
  require(factual.shape() == counterfactual.shape(), "counterfactuals {} for factual images {}",
          to_string(counterfactual.shape()), to_string(factual.shape()));
  require_classes(factual_class, factual.dim(0), classes(), "factual classes");
  require_classes(target_class, factual.dim(0), classes(), "target classes");

  const Tensor image = counterfactual.to(target_);
  return {
      .factual = factual,
      .image = counterfactual,
      .truth = truth,
      .cld = reference_.score(posteriors(vae_.model, factual.to(target_)),
                              posteriors(vae_.model, image), factual_class, target_class),
      .interpretability = interpretability(autoencoders_.model, image, factual_class, target_class),
      .oracle = effectiveness(probabilities(image), target_class),
      .guide = guide_ ? effectiveness(guide_(counterfactual), target_class)
                      : std::vector<Effectiveness>()};
}

std::vector<Metrics> Evaluator::score(const Tensor& factual, const Tensor& counterfactual,
                                      std::span<const int64_t> factual_class,
                                      std::span<const int64_t> target_class,
                                      const Tensor& truth) const {
  return image_metrics(judge(factual, counterfactual, factual_class, target_class, truth));
}

Metrics Evaluator::score(const Tensor& factual, const Tensor& counterfactual, int64_t factual_class,
                         int64_t target_class) const {
  return score(one_image(factual, "factual"), one_image(counterfactual, "counterfactual"),
               std::span(&factual_class, 1), std::span(&target_class, 1))
      .front();
}

Matrix Evaluator::features(const Tensor& images) const {
  const NoGrad no_grad;
  require_images(images, "features");
  Matrix all(0, oracle_.model.config().features);
  in_batches(images.dim(0), kBatch, [&](int64_t begin, int64_t end) {
    all.append(to_matrix(oracle_.model.features(images.slice(begin, end).to(target_)).value()));
  });
  return all;
}

ClassProbabilities Evaluator::probabilities(const Tensor& images) const {
  ClassProbabilities all;
  in_batches(images.dim(0), kBatch, [&](int64_t begin, int64_t end) {
    for (auto& row : oracle_.model.probabilities(images.slice(begin, end).to(target_)))
      all.push_back(std::move(row));
  });
  return all;
}

}  // namespace diffscm
