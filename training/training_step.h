// One step of training, recorded where the target can, and what came of the steps since the last
// line of the log.
#pragma once

#include <vector>

#include "engine/captured_step.h"
#include "training/trainer.h"

namespace diffscm {

// Forward, backward and update as one recorded step, its inputs always in the same memory.
class TrainingStep {
 public:
  TrainingStep(const TrainingTask& task, const TrainingOptions& options, Adamw& optimiser);

  void run(int64_t number, TrainingBatch batch, double lr_scale);
  // Of the last step: the loss of each sample, its parts likewise, then the sum of the gradient's
  // squares.
  const Tensor& outcome() const { return outcome_; }

 private:
  void body();
  void gather_gradients(int64_t first, int64_t last);
  void tell(int64_t row, int64_t first, int64_t last, const Tensor& values);

  const TrainingTask& task_;
  const TrainingOptions& options_;
  Adamw& optimiser_;
  TrainingBatch inputs_;
  Tensor number_, outcome_;
  CapturedStep step_;
};

// The steps since the last log line. Their outcomes stay in the target's memory until they are
// needed, because reading one waits for the step.
class LossWindow {
 public:
  LossWindow(const Adamw& optimiser, const TrainingTask& task, const TrainingOptions& options);

  void add(const Tensor& outcome);
  // Throws Error when a loss is not finite.
  void read();
  int64_t steps() const { return steps_; }
  // Means over the steps that have been read.
  double loss() const { return sums_[0] / static_cast<double>(steps_); }
  double part(size_t i) const { return sums_[1 + i] / static_cast<double>(steps_); }
  double gradient_rms() const { return gradient_ / static_cast<double>(steps_); }
  void clear();

 private:
  const Adamw& optimiser_;
  const TrainingOptions& options_;
  Tensor unread_;             // [rows, of TrainingStep::outcome()]
  int64_t count_ = 0;         // of its rows
  std::vector<double> sums_;  // of the loss, and of its parts, over steps_
  double gradient_ = 0;       // likewise
  int64_t steps_ = 0;
};

}  // namespace diffscm
