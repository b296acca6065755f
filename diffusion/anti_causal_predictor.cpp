#include "diffusion/anti_causal_predictor.h"

#include <cmath>

#include "data/attribute.h"
#include "engine/io/json.h"

namespace diffscm {
namespace {

AntiCausalPredictor load(const std::string& path, const DiffusionModel& model) {
  const std::string kind = read_model_info(path).kind;
  if (kind == Regressor::kKind)
    return {load_model<Regressor>(path, model.target(), model.layers()), model};
  require(kind == Classifier::kKind, "{}: kind is {}, expected classifier or regressor", path,
          kind);
  return {load_model<Classifier>(path, model.target(), model.layers()), model};
}

}  // namespace

std::string learnt_category(const ModelInfo& info) {
  if (!info.data.is_object()) return "";  // of a network that no file says anything about
  for (const data::Attribute& a : data::attributes_from_json(
           info.data.value("attributes", nlohmann::json::array()), info.path))
    if (a.is_category()) return a.name;
  return "";
}

AntiCausalPredictor::AntiCausalPredictor(const std::string& path, const DiffusionModel& model)
    : AntiCausalPredictor(load(path, model)) {}

AntiCausalPredictor::AntiCausalPredictor(LoadedModel<Classifier> loaded,
                                         const DiffusionModel& model)
    : info_(std::move(loaded.info)),
      target_(model.target()),
      attribute_(learnt_category(info_)),
      classifier_(std::make_shared<const Classifier>(std::move(loaded.model))),
      gradient_(std::make_shared<const GuidanceGradient::Body>(
          [classifier = classifier_](const Tensor& x, const Tensor& t,
                                     const GuidanceGradient::Bound& bound) {
            return classifier->log_p_gradient(x, t, bound[0]);
          })) {
  check_fits(classifier_->config(), model);
}

AntiCausalPredictor::AntiCausalPredictor(LoadedModel<Regressor> loaded, const DiffusionModel& model)
    : info_(std::move(loaded.info)),
      target_(model.target()),
      attribute_(loaded.model.config().attribute.name),
      regressor_(std::make_shared<const Regressor>(std::move(loaded.model))) {
  check_fits(regressor_->config(), model);
  require(!regressor_->config().sigma.empty(),
          "{}: its error by noise level has not been measured, which its training does at the end: "
          "finish it with --resume",
          info_.path);
  gradient_ = std::make_shared<const GuidanceGradient::Body>(
      [regressor = regressor_,
       precision = NoiseLevelPrecision(regressor_->config().sigma, target_)](
          const Tensor& x, const Tensor& t, const GuidanceGradient::Bound& bound) {
        return regressor->log_p_gradient(x, t, bound[0], precision(t));
      });
}

void AntiCausalPredictor::check_fits(const EncoderConfig& c, const DiffusionModel& model) const {
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

void AntiCausalPredictor::require_classifier(const char* flag) const {
  require(is_classifier(), "{} {}: it is a regressor, of {}; give a classifier", flag, info_.path,
          attribute_);
}

const Condition& AntiCausalPredictor::number() const {
  require(!is_classifier(), "{} is a classifier: it reads no number", info_.path);
  return regressor_->config().attribute;
}

GuidanceGradient AntiCausalPredictor::gradient(std::span<const double> values) const {
  if (is_classifier()) {
    std::vector<int64_t> targets;
    for (const double value : values) {
      require(value >= 0 && value < static_cast<double>(classes()) && value == std::floor(value),
              "'{}' = {}: {} knows the categories 0 to {}", attribute_, value, info_.path,
              classes() - 1);
      targets.push_back(static_cast<int64_t>(value));
    }
    return gradient(std::move(targets));
  }
  return GuidanceGradient::recordable(gradient_, {regressor_->standardised(values, target_)});
}

GuidanceGradient AntiCausalPredictor::gradient(std::vector<int64_t> targets) const {
  require(is_classifier(), "{} is a regressor: it cannot guide to a class", info_.path);
  require_labels(targets, classes());
  const Tensor label = Tensor::from(targets, {static_cast<int64_t>(targets.size())}, target_);
  return GuidanceGradient::recordable(gradient_, {label});
}

ClassProbabilities AntiCausalPredictor::predict(const Tensor& images) const {
  require(is_classifier(), "{} is a regressor: it knows no classes", info_.path);
  return classifier_->probabilities(images.to(target_), /*t=*/0);
}

std::vector<double> AntiCausalPredictor::values(const Tensor& images) const {
  require(!is_classifier(), "{} is a classifier: it reads no number", info_.path);
  return regressor_->values(images.to(target_), /*t=*/0);
}

}  // namespace diffscm
