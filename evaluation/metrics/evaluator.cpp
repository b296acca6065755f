#include "evaluation/metrics/evaluator.h"

#include "evaluation/metrics/fidelity.h"
#include "evaluation/metrics/interpretability.h"
#include "evaluation/metrics/realism.h"

namespace diffscm {
namespace {

constexpr int64_t kBatch = 200;

void require_same_images(const ModelInfo& info, const data::Dataset& dataset, int64_t image_size,
                         int64_t channels) {
  require(
      image_size == dataset.height && image_size == dataset.width && channels == dataset.channels,
      "{} is for {}x{}x{} images, {} has {}x{}x{}", info.path, image_size, image_size, channels,
      dataset.name, dataset.height, dataset.width, dataset.channels);
}

void require_same_classes(const ModelInfo& info, const data::Dataset& dataset, int64_t classes) {
  require(classes == dataset.classes, "{} is for {} classes, {} has {}", info.path, classes,
          dataset.name, dataset.classes);
}

// Before the reference set is encoded, which takes longer than finding out.
const Vae& checked(const LoadedModel<Vae>& vae, const LoadedModel<Autoencoders>& autoencoders,
                   const LoadedModel<Oracle>& oracle, const data::Dataset& dataset) {
  const auto& v = vae.model.config();
  const auto& a = autoencoders.model.config();
  const auto& o = oracle.model.config();
  require_same_images(vae.info, dataset, v.image_size, v.in_channels);
  require_same_images(autoencoders.info, dataset, a.image_size, a.in_channels);
  require_same_images(oracle.info, dataset, o.image_size, o.in_channels);
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

std::map<std::string, double> to_values(const ImageMetrics& m) {
  std::map<std::string, double> values = {{"cld", m.cld.value},
                                          {"im1", m.im1},
                                          {"im2", 100 * m.im2},
                                          {"oracle_flip", m.oracle.flip ? 1 : 0},
                                          {"oracle_p_target", m.oracle.p_target},
                                          {"l1", m.l1},
                                          {"l0", m.l0}};
  if (m.has_guide) {
    values["guide_flip"] = m.guide.flip ? 1 : 0;
    values["disagree"] = m.disagree ? 1 : 0;
  }
  if (m.truth_l1 == m.truth_l1) {  // not NaN
    values["truth_l1"] = m.truth_l1;
    values["factual_truth_l1"] = m.factual_truth_l1;
  }
  return values;
}

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

std::vector<ImageMetrics> Evaluator::score(const Tensor& factual, const Tensor& counterfactual,
                                           std::span<const int64_t> factual_class,
                                           std::span<const int64_t> target_class,
                                           const Tensor& truth) const {
  require_images(factual, "factual");
  require_images(counterfactual, "counterfactual");
  require(factual.shape() == counterfactual.shape(), "counterfactuals {} for factual images {}",
          to_string(counterfactual.shape()), to_string(factual.shape()));
  require_classes(factual_class, factual.dim(0), classes(), "factual classes");
  require_classes(target_class, factual.dim(0), classes(), "target classes");

  const Tensor image = counterfactual.to(target_);
  const auto cld = reference_.score(posteriors(vae_.model, factual.to(target_)),
                                    posteriors(vae_.model, image), factual_class, target_class);
  const auto im = interpretability(autoencoders_.model, image, factual_class, target_class);
  ClassProbabilities p;
  in_batches(image.dim(0), kBatch, [&](int64_t begin, int64_t end) {
    for (auto& row : oracle_.model.probabilities(image.slice(begin, end)))
      p.push_back(std::move(row));
  });
  const auto oracle = effectiveness(p, target_class);
  const auto guide =
      guide_ ? effectiveness(guide_(counterfactual), target_class) : std::vector<Effectiveness>();
  const auto l1 = l1_distance(factual, counterfactual), l0 = l0_distance(factual, counterfactual);
  const auto truth_l1 = truth ? l1_distance(counterfactual, truth) : std::vector<double>();
  const auto factual_truth_l1 = truth ? l1_distance(factual, truth) : std::vector<double>();

  std::vector<ImageMetrics> result(l1.size());
  for (size_t i = 0; i < result.size(); ++i) {
    ImageMetrics& m = result[i];
    m.cld = cld[i];
    m.im1 = im[i].im1;
    m.im2 = im[i].im2;
    m.oracle = oracle[i];
    if (guide_) {
      m.has_guide = true;
      m.guide = guide[i];
      m.disagree = adversarial(oracle[i], guide[i]);
    }
    m.l1 = l1[i];
    m.l0 = l0[i];
    if (truth) {
      m.truth_l1 = truth_l1[i];
      m.factual_truth_l1 = factual_truth_l1[i];
    }
  }
  return result;
}

ImageMetrics Evaluator::score(const Tensor& factual, const Tensor& counterfactual,
                              int64_t factual_class, int64_t target_class) const {
  return score(one_image(factual, "factual"), one_image(counterfactual, "counterfactual"),
               std::span(&factual_class, 1), std::span(&target_class, 1))
      .front();
}

Matrix Evaluator::features(const Tensor& images) const {
  const NoGrad no_grad;
  require_images(images, "features");
  Matrix all(images.dim(0), oracle_.model.config().features);
  in_batches(images.dim(0), kBatch, [&](int64_t begin, int64_t end) {
    const Matrix some =
        to_matrix(oracle_.model.features(images.slice(begin, end).to(target_)).value());
    std::copy(some.values.begin(), some.values.end(), all.values.begin() + begin * all.columns);
  });
  return all;
}

SetMetrics Evaluator::score_sets(const Matrix& features, const Matrix& real) const {
  const double scale = unit_scale(real);
  return {frechet_distance(features, real),
          kernel_mmd(scaled(features, scale), scaled(real, scale))};
}

SetMetrics Evaluator::score_sets(const Tensor& images, const Tensor& real) const {
  return score_sets(features(images), features(real));
}

}  // namespace diffscm
