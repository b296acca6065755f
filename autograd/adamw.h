// AdamW with an exponential moving average of the weights, over one flat arena.
#pragma once

#include <vector>

#include "autograd/variable.h"

namespace diffscm {

struct AdamwOptions {
  double lr = 1e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  // The average's decay at step t is min(ema_decay, (1 + t) / (10 + t)): without this warm-up the
  // untrained start would keep a weight of ema_decay^t in it.
  double ema_decay = 0.9999;
};

// Moves every parameter into one contiguous arena (each becomes a view of it), so that a step is
// one pass of one operator. Source: Loshchilov & Hutter 2019, alg. 2.
class Adamw {
 public:
  Adamw(std::vector<Variable*> parameters, AdamwOptions options);

  // Applies the gradients that backward() left, and clears them. A parameter that received none
  // counts as gradient 0. `lr_scale` multiplies the learning rate of this step (warm-up,
  // annealing).
  void step(double lr_scale = 1) {
    begin_step(lr_scale);
    apply_gradients();
  }
  // The two halves of a step. The first hands the target what changes from step to step; the second
  // is the same work each time, and so may be part of a recorded step.
  void begin_step(double lr_scale = 1);
  void apply_gradients();
  int64_t steps() const { return steps_; }
  // Root mean square of the last step's gradient, over all parameters. Waits for the step.
  double gradient_rms() const { return gradient_rms(squared_gradient_.to_vector()[0]); }
  // The same from the sum of the gradient's squares, [1] in the target's memory.
  double gradient_rms(double squares) const;
  const Tensor& squared_gradient() const { return squared_gradient_; }

  // The optimiser's whole state, each [parameters in all], for checkpoints.
  Tensor& values() { return values_; }
  Tensor& m() { return m_; }
  Tensor& v() { return v_; }
  Tensor& ema() { return ema_; }
  void set_steps(int64_t steps) { steps_ = steps; }

  // Exchanges the parameters' values with their moving averages; call again to go back.
  void swap_ema();

 private:
  std::vector<Variable*> parameters_;
  std::vector<int64_t> offsets_;
  int64_t count_ = 0;  // parameters, without the arena's padding
  AdamwOptions options_;
  Tensor values_, gradients_, m_, v_, ema_;
  Tensor schedule_;  // of the step under way: AdamwArgs::schedule
  Tensor squared_gradient_;
  int64_t steps_ = 0;
};

}  // namespace diffscm
