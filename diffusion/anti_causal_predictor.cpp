#include "diffusion/anti_causal_predictor.h"

#include "engine/io/json.h"

namespace diffscm {

AntiCausalPredictor::AntiCausalPredictor(const std::string& path, const DiffusionModel& model)
    : AntiCausalPredictor(load_model<Classifier>(path, model.target(), model.layers()), model) {}

AntiCausalPredictor::AntiCausalPredictor(LoadedModel<Classifier> loaded,
                                         const DiffusionModel& model)
    : info_(std::move(loaded.info)),
      target_(model.target()),
      classifier_(std::make_shared<const Classifier>(std::move(loaded.model))) {
  const ClassifierConfig& c = classifier_->config();
  const Shape s = model.image_shape(1);
  require(c.image_size == s[1] && c.in_channels == s[3],
          "{} reads {}x{}x{} images, {} makes {}x{}x{}", info_.path, c.image_size, c.image_size,
          c.in_channels, model.info().path, s[1], s[2], s[3]);
  for (const char* name : {"schedule", "timesteps"})
    require(info_.diffusion.value(name, nlohmann::json()) ==
                model.info().diffusion.value(name, nlohmann::json()),
            "{} was trained with diffusion {} = {}, {} with {}: they cannot work together",
            info_.path, name, io::dump(info_.diffusion.value(name, nlohmann::json())),
            model.info().path, io::dump(model.info().diffusion.value(name, nlohmann::json())));
}

GuidanceGradient AntiCausalPredictor::gradient(std::vector<int64_t> targets) const {
  require_labels(targets, classes());
  const Tensor label = Tensor::from(targets, {static_cast<int64_t>(targets.size())}, target_);
  return GuidanceGradient::recordable(
      [classifier = classifier_](const Tensor& x, const Tensor& t,
                                 const GuidanceGradient::Bound& bound) {
        return classifier->log_p_gradient(x, t, bound[0]);
      },
      {label});
}

ClassProbabilities AntiCausalPredictor::predict(const Tensor& images) const {
  return classifier_->probabilities(images.to(target_), /*t=*/0);
}

}  // namespace diffscm
