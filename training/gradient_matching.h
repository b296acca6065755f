// Trains a classifier's gradient beside its value. Cross-entropy alone leaves the gradient, which
// is all that guidance takes of a classifier, poorly determined (Chao et al. 2022); a conditional
// network knows what it should be: by Bayes' rule
//   v = grad log p(target | x_t) = (eps(x_t, t) - eps(x_t, t | target)) / sqrt(1 - alpha_bar_t).
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "diffusion/diffusion_model.h"
#include "models/classifier.h"
#include "training/noisy_batches.h"
#include "training/trainer.h"

namespace diffscm {

// Per image, with sigma_t^2 = 1 - alpha_bar_t,
//   cross-entropy + weight * sigma_t^2 |grad log p(target | x_t) - v|^2
// for a target class drawn uniformly. The derivative of the second term with respect to the weights
// is that of 2 <r, grad log p>, r = sigma_t^2 (grad log p - v) held constant, and <r, grad log p>
// is the central difference of log p along r: two evaluations, no second derivatives. The
// cross-entropy is the mean of that at the same two points, next to x_t.
class GradientMatching {
 public:
  // Of the parent `label`; networks are asked about `at_a_time` images. Throws Error when the
  // teacher cannot be told it.
  GradientMatching(const DiffusionModel& teacher, const std::string& label, double weight,
                   uint64_t seed, int64_t at_a_time = std::numeric_limits<int64_t>::max());

  // {x_t + c r, x_t - c r, t, label, target, what completes the loss's value [N]}, of the
  // classifier's present weights, which may be those being trained.
  TrainingBatch batch(Classifier& classifier, const NoisyBatch& batch, int64_t step);
  // [N].
  Variable loss(const Classifier& classifier, const TrainingBatch& batch,
                ForwardContext& context) const;

 private:
  const DiffusionModel& teacher_;
  size_t condition_;  // of the label, among the teacher's
  double weight_;
  uint64_t seed_;
  int64_t at_a_time_;
  std::unique_ptr<Classifier> frozen_;  // shares the weights, wants no gradient of them
};

}  // namespace diffscm
