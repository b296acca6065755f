// Reverse-mode automatic differentiation: a Variable is a value plus, when something upstream wants
// a gradient, the node of the tape that made it.
//
// The tape holds no values. Each operator's backward is a lambda that captures exactly the tensors
// it needs; everything else is freed as soon as the last Variable naming it is gone.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace diffscm {

class Node;

// a + b, of one shape and dtype.
Tensor add(const Tensor& a, const Tensor& b);

// Where a backward lambda delivers gradients, one slot per input of its operator.
class GradientSink {
 public:
  explicit GradientSink(const std::vector<std::shared_ptr<Node>>& inputs) : inputs_(inputs) {}
  // False: nobody needs this gradient, so it must not be computed.
  bool wants(size_t input) const { return inputs_[input] != nullptr; }
  // Memory for this input's f32 gradient, to be filled and added: the home that a leaf has for it,
  // if it is free, or else new memory.
  Tensor place(size_t input, const Shape& shape, Target target);
  // What has been delivered for this input so far, or an empty tensor: an operator that adds it to
  // what it computes takes it, and delivers the sum.
  Tensor take(size_t input);
  // First delivery overwrites (takes the tensor over), later ones accumulate.
  void add(size_t input, Tensor gradient);

 private:
  const std::vector<std::shared_ptr<Node>>& inputs_;
};

using Backward = std::function<void(const Tensor& dy, GradientSink& sink)>;

class Variable {
 public:
  Variable() = default;
  // A constant: nothing flows into it.
  Variable(Tensor value) : value_(std::move(value)) {}  // NOLINT: values are variables
  // A leaf whose gradient is wanted. `home`, if there is one, is where it is computed into where
  // that is possible: gradient() then shares that memory.
  static Variable leaf(Tensor value, Tensor home = {});
  // The result of an operator. Records a node only if some input needs a gradient and no NoGrad
  // lives; otherwise `backward` is dropped with all it captured.
  static Variable result(Tensor value, const std::vector<Variable>& inputs, Backward backward);

  explicit operator bool() const { return static_cast<bool>(value_); }
  const Tensor& value() const { return value_; }
  Tensor& mutable_value() { return value_; }
  const Shape& shape() const { return value_.shape(); }
  int64_t dim(int i) const { return value_.dim(i); }
  bool needs_gradient() const { return node_ != nullptr; }
  // The gradient collected by backward(); an empty Tensor if none arrived.
  const Tensor& gradient() const;
  void clear_gradient();

 private:
  friend void propagate(const Variable&, Tensor, uint64_t);
  Tensor value_;
  std::shared_ptr<Node> node_;
};

// Propagates d root = seed to every leaf. The tape is consumed: lambdas and intermediate gradients
// are released as they are used. Throws Error if nothing upstream of root needs a gradient, or if
// part of the tape was already consumed.
void backward(const Variable& root, Tensor seed);

// What f makes of the inputs, of which nothing is kept but the result: f runs now without a tape,
// and again, with one, when the gradient of its result is propagated (Chen et al. 2016,
// arXiv:1604.06174). f must do the same both times. Gradients are those of the plain call, to the
// bit. `inputs`: Variables that f reads, among them one that wants a gradient if any does.
Variable recomputed(const std::function<Variable()>& f, const std::vector<Variable>& inputs);

// While one of these lives, this thread records no tape.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool previous_;
};
bool recording();

}  // namespace diffscm
