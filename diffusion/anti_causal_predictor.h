// A trained predictor of a parent from noisy images as the guidance that the causal procedures ask
// for: a classifier of a category, or a regressor of a number.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "diffusion/diffusion_model.h"
#include "models/classifier.h"
#include "models/regressor.h"

namespace diffscm {

// The category that a classifier learnt, which is the first of its training data; "" where its
// file, of an earlier version, does not say.
std::string learnt_category(const ModelInfo& info);

class AntiCausalPredictor {
 public:
  // Throws Error unless `path` holds a classifier or a regressor, trained on the images and the
  // noise schedule of `model`; of a regressor also when its errors have not been measured.
  AntiCausalPredictor(const std::string& path, const DiffusionModel& model);
  // Of a network in the memory of the model's target.
  AntiCausalPredictor(LoadedModel<Classifier> loaded, const DiffusionModel& model);
  AntiCausalPredictor(LoadedModel<Regressor> loaded, const DiffusionModel& model);

  const ModelInfo& info() const { return info_; }
  bool is_classifier() const { return classifier_ != nullptr; }
  // Throws Error, naming the flag that gave it, for a regressor.
  void require_classifier(const char* flag) const;
  // The parent that it predicts, as its training data call it; or "", learnt_category().
  const std::string& attribute() const { return attribute_; }
  // Of a regressor: what it learnt, with the mean and deviation of its training data.
  const Condition& number() const;
  // 0 of a regressor.
  int64_t classes() const { return is_classifier() ? classifier_->config().classes : 0; }

  // One value per image of the batch: a target class, or a number in the attribute's own units. The
  // function outlives this object. Throws Error for a value that the parent cannot have.
  GuidanceGradient gradient(std::span<const double> values) const;
  // Of a classifier, which the others ask for.
  GuidanceGradient gradient(std::vector<int64_t> targets) const;
  // p(class | clean image), at t = 0.
  ClassProbabilities predict(const Tensor& images) const;
  // Of a regressor: the number that it reads from each clean image, at t = 0.
  std::vector<double> values(const Tensor& images) const;

 private:
  void check_fits(const EncoderConfig& config, const DiffusionModel& model) const;

  ModelInfo info_;
  Target target_;
  std::string attribute_;
  std::shared_ptr<const Classifier> classifier_;  // one of the two
  std::shared_ptr<const Regressor> regressor_;
  GuidanceGradient::Network gradient_;  // of either, bound to targets
};

}  // namespace diffscm
