// A trained classifier of noisy images as the guidance that the causal procedures ask for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "diffusion/diffusion_model.h"
#include "models/classifier.h"

namespace diffscm {

class AntiCausalPredictor {
 public:
  // Throws Error unless it was trained on the images and the noise schedule of `model`.
  AntiCausalPredictor(const std::string& path, const DiffusionModel& model);

  const ModelInfo& info() const { return info_; }
  int64_t classes() const { return classifier_->config().classes; }
  // One target class per image of the batch.
  GuidanceGradient gradient(std::vector<int64_t> targets) const;
  // p(class | clean image), at t = 0.
  ClassProbabilities predict(const Tensor& images) const;

 private:
  ModelInfo info_;
  Target target_;
  std::unique_ptr<Classifier> classifier_;
};

}  // namespace diffscm
