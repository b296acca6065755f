// What the causal procedures need from networks, and nothing more: so that every sampler, abduction
// and counterfactual can be tested on distributions whose score is known in closed form.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace diffscm {

// A function of a batch x_t [N,H,W,C] and its timesteps t [N] f32 (original units, 0 .. T-1, in the
// target's memory), shaped like x_t. It treats all images alike, except for the tensors that are
// bound to it, which have one row per image: targets of guidance, features of conditions. When
// images leave the batch, of() follows them.
class TimestepFunction {
 public:
  using Bound = std::vector<Tensor>;  // [N, ..] each
  using Body = std::function<Tensor(const Tensor& x_t, const Tensor& t, const Bound& bound)>;
  // A network, shared by the functions that bind it to different data.
  using Network = std::shared_ptr<const Body>;

  TimestepFunction() = default;
  // Anything callable as f(x_t, t), for one image or many.
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, TimestepFunction> &&
           std::is_invocable_r_v<Tensor, F&, const Tensor&, const Tensor&>) TimestepFunction(F f)
      : TimestepFunction([f](const Tensor& x, const Tensor& t, const Bound&) { return f(x, t); },
                         Bound()) {}
  TimestepFunction(Body body, Bound bound)
      : TimestepFunction(std::make_shared<const Body>(std::move(body)), std::move(bound)) {}
  TimestepFunction(Network network, Bound bound)
      : network_(std::move(network)), bound_(std::move(bound)) {}
  // Of a network that does nothing that cannot be recorded (engine/captured_step.h).
  static TimestepFunction recordable(Network network, Bound bound = {});
  static TimestepFunction recordable(Body body, Bound bound = {});
  // The same, of a network that leaves something behind beside its answer: a recording of it serves
  // one call only (diffusion/kept.h).
  TimestepFunction with_traces() const;

  explicit operator bool() const { return network_ != nullptr; }
  bool is_recordable() const { return recordable_; }
  bool leaves_traces() const { return traces_; }
  const Bound& bound() const { return bound_; }
  const Network& network() const { return network_; }
  // The same with its own copies of what is bound, and without keeping the network alive: whoever
  // asks it must.
  TimestepFunction detached() const;
  // Copies what is bound to `other`, of the same shapes, into what is bound here.
  void rebind(const TimestepFunction& other);

  // Throws Error when the bound tensors are not of as many images, or the answer is not shaped like
  // x_t.
  Tensor operator()(const Tensor& x_t, const Tensor& t) const;
  // All images at the same timestep.
  Tensor operator()(const Tensor& x_t, int timestep) const;
  // The same network about other images.
  Tensor operator()(const Tensor& x_t, const Tensor& t, const Bound& bound) const;

  // The function of images `rows` of the batch, in that order.
  TimestepFunction of(std::span<const int64_t> rows) const;
  // Whether one evaluation of the network, on both batches one after the other, answers for both.
  bool joins(const TimestepFunction& other) const;
  // That evaluation, as a function of the joined batch. All must join the first.
  static TimestepFunction joined(std::span<const TimestepFunction> functions);

 private:
  Network network_;
  Bound bound_;
  bool recordable_ = false, traces_ = false;
};

// eps_theta(x_t, t), or of a conditional network eps_theta(x_t, t | parents), bound to features.
using EpsilonModel = TimestepFunction;

// Anti-causal predictor of one intervened parent: grad_{x_t} log p(parent = target | x_t), bound to
// one target per image.
using GuidanceGradient = TimestepFunction;

}  // namespace diffscm
