#include "training/training_step.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace diffscm {
namespace {

int64_t outcome_size(const TrainingTask& task, const TrainingOptions& options) {
  return (1 + std::ssize(task.parts)) * options.batch + 1;
}

}  // namespace

TrainingStep::TrainingStep(const TrainingTask& task, const TrainingOptions& options,
                           Adamw& optimiser)
    : task_(task),
      options_(options),
      optimiser_(optimiser),
      number_({1}, optimiser.values().target(), Dtype::u32),
      outcome_({outcome_size(task, options)}, optimiser.values().target()),
      step_(outcome_.target(), [this] { body(); }) {}

void TrainingStep::run(int64_t number, TrainingBatch batch, double lr_scale) {
  number_.copy_from(Tensor::from(std::array{static_cast<uint32_t>(number)}, {1}));
  if (inputs_.empty()) {
    inputs_ = std::move(batch);
  } else {
    require(batch.size() == inputs_.size(), "a batch of {} tensors after one of {}", batch.size(),
            inputs_.size());
    for (size_t i = 0; i < batch.size(); ++i) inputs_[i].copy_from(batch[i]);
  }
  optimiser_.begin_step(lr_scale);
  step_.run();
}

void TrainingStep::body() {
  const int64_t n = options_.batch, part = options_.at_a_time();
  for (int64_t first = 0; first < n; first += part)
    gather_gradients(first, std::min(n, first + part));
  optimiser_.apply_gradients();
  const int64_t last = outcome_.numel() - 1;
  outcome_.slice(last, last + 1).copy_from(optimiser_.squared_gradient());
}

// Of images [first, last) of the batch.
void TrainingStep::gather_gradients(int64_t first, int64_t last) {
  const bool whole = last - first == options_.batch;
  TrainingBatch part;
  for (const Tensor& input : inputs_) {
    require(whole || (input.rank() > 0 && input.dim(0) == options_.batch),
            "micro_batch {}: this training's batches cannot be cut", options_.micro_batch);
    part.push_back(whole ? input : input.slice(first, last));
  }
  ForwardContext context;
  context.training = true;
  context.seed = options_.seed;
  context.step_at = number_.data<uint32_t>();
  context.first_image = first;
  context.recompute = options_.recompute;
  const auto [loss, parts] = task_.loss(part, context);
  require(parts.size() == task_.parts.size(), "the loss has {} parts for {} names", parts.size(),
          task_.parts.size());
  tell(0, first, last, loss.value());
  for (size_t i = 0; i < parts.size(); ++i)
    tell(static_cast<int64_t>(i) + 1, first, last, parts[i]);
  backward(loss, Tensor::constant(loss.shape(), 1 / static_cast<float>(options_.batch),
                                  loss.value().target()));
}

// The `row`-th value of images [first, last) of the batch.
void TrainingStep::tell(int64_t row, int64_t first, int64_t last, const Tensor& values) {
  require(values.numel() == last - first, "the loss has {} values for {} images", values.numel(),
          last - first);
  const int64_t at = row * options_.batch;
  outcome_.slice(at + first, at + last).copy_from(values);
}

LossWindow::LossWindow(const Adamw& optimiser, const TrainingTask& task,
                       const TrainingOptions& options)
    : optimiser_(optimiser), options_(options), sums_(1 + task.parts.size()) {
  const Target target = optimiser.squared_gradient().target();
  unread_ = Tensor({records_steps(target) ? 64 : 1, outcome_size(task, options)}, target);
}

void LossWindow::add(const Tensor& outcome) {
  Tensor row = unread_.slice(count_, count_ + 1);
  row.copy_from(outcome.reshape(row.shape()));
  if (++count_ == unread_.dim(0)) read();
}

void LossWindow::read() {
  const int64_t count = std::exchange(count_, 0), n = options_.batch;
  if (count == 0) return;
  const std::vector<float> values = unread_.slice(0, count).to_vector();
  for (int64_t k = 0; k < count; ++k) {
    const float* outcome = values.data() + k * unread_.dim(1);
    for (size_t i = 0; i < sums_.size(); ++i, outcome += n) {
      double mean = 0;
      for (int64_t sample = 0; sample < n; ++sample)
        mean += outcome[sample] / static_cast<double>(n);
      require(i > 0 || std::isfinite(mean),
              "the loss is {} at step {}: lower the learning rate, now {}", mean,
              optimiser_.steps() - count + k, options_.adamw.lr);
      sums_[i] += mean;
    }
    gradient_ += optimiser_.gradient_rms(*outcome);
    ++steps_;
  }
}

void LossWindow::clear() {
  std::ranges::fill(sums_, 0);
  gradient_ = 0;
  steps_ = 0;
}

}  // namespace diffscm
