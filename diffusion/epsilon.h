// What the causal procedures need from networks, and nothing more: so that every sampler, abduction
// and counterfactual can be tested on distributions whose score is known in closed form.
#pragma once

#include <concepts>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace diffscm {

// A function of a batch x_t [N,H,W,C] and one timestep t (original units, 0 .. T-1), shaped like
// x_t. Made from anything callable as f(x_t, int timestep).
class TimestepFunction {
 public:
  using AtTimestep = std::function<Tensor(const Tensor& x_t, int timestep)>;
  using AtTensor = std::function<Tensor(const Tensor& x_t, const Tensor& t)>;

  TimestepFunction() = default;
  template <class F>
  requires(!std::same_as<std::remove_cvref_t<F>, TimestepFunction> &&
           std::is_invocable_r_v<Tensor, F&, const Tensor&, int>) TimestepFunction(F f)
      : at_timestep_(std::move(f)) {}  // NOLINT: functions are functions

  // A network: it reads the timesteps t [N] from the target's memory and does nothing that cannot
  // be recorded (engine/captured_step.h).
  static TimestepFunction recordable(AtTensor f) {
    TimestepFunction result([f](const Tensor& x, int timestep) {
      return f(x, Tensor::full({x.dim(0)}, static_cast<float>(timestep), x.target()));
    });
    result.at_tensor_ = std::move(f);
    return result;
  }

  explicit operator bool() const { return static_cast<bool>(at_timestep_); }
  bool is_recordable() const { return static_cast<bool>(at_tensor_); }
  Tensor operator()(const Tensor& x_t, int timestep) const { return at_timestep_(x_t, timestep); }
  // Of a recordable function only.
  Tensor operator()(const Tensor& x_t, const Tensor& t) const { return at_tensor_(x_t, t); }

 private:
  AtTimestep at_timestep_;
  AtTensor at_tensor_;
};

// eps_theta(x_t, t).
using EpsilonModel = TimestepFunction;

// Anti-causal predictor of one intervened parent: grad_{x_t} log p(parent = target | x_t), with one
// target per sample already bound by whoever made the function.
using GuidanceGradient = TimestepFunction;

// The function that `body`, callable with (x_t, int) and (x_t, Tensor), computes from others. It is
// recordable if they all are.
template <class Body>
TimestepFunction combined(Body body, bool recordable) {
  TimestepFunction result([body](const Tensor& x, int timestep) { return body(x, timestep); });
  if (recordable)
    result = TimestepFunction::recordable(
        [body](const Tensor& x, const Tensor& t) { return body(x, t); });
  return result;
}

}  // namespace diffscm
