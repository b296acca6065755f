#include "autograd/variable.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "autograd/dispatch.h"

namespace diffscm {

class Node {
 public:
  uint64_t sequence = 0;  // creation order: a topological order of the tape
  std::vector<std::shared_ptr<Node>> inputs;
  Backward backward;  // empty for leaves
  bool consumed = false;
  Tensor gradient;
  Tensor home;  // of a leaf's gradient, or empty
  bool home_taken = false;
};

namespace {
thread_local bool t_recording = true;
thread_local uint64_t t_sequence = 0;
}  // namespace

bool recording() {
  return t_recording;
}
NoGrad::NoGrad() : previous_(std::exchange(t_recording, false)) {}
NoGrad::~NoGrad() {
  t_recording = previous_;
}

Tensor GradientSink::place(size_t input, const Shape& shape, Target target) {
  Node* node = inputs_[input].get();
  if (node == nullptr || !node->home || node->home_taken || node->gradient)
    return Tensor(shape, target);
  node->home_taken = true;
  return node->home.reshape(shape);
}

Tensor GradientSink::take(size_t input) {
  Node* node = inputs_[input].get();
  return node == nullptr ? Tensor() : std::exchange(node->gradient, Tensor());
}

void GradientSink::add(size_t input, Tensor gradient) {
  Node* node = inputs_[input].get();
  if (node == nullptr) return;
  if (!node->gradient) {
    node->gradient = std::move(gradient);
    return;
  }
  // The tensor taken over may be shared (one dy handed to two inputs), so the sum gets its own
  // memory.
  require(node->gradient.shape() == gradient.shape(), "gradients of shapes {} and {} meet",
          to_string(node->gradient.shape()), to_string(gradient.shape()));
  node->gradient = diffscm::add(node->gradient, gradient);
}

Tensor add(const Tensor& a, const Tensor& b) {
  Tensor sum(a.shape(), a.target(), a.dtype());
  with_storage(a.dtype(), [&]<class T>(T) {
    run(a.target(), kernels::BasicLinearCombinationArgs<T>{sum.numel(), 1, a.data<T>(), 1,
                                                           b.data<T>(), sum.mutable_data<T>()});
  });
  return sum;
}

Variable Variable::leaf(Tensor value, Tensor home) {
  Variable v(std::move(value));
  v.node_ = std::make_shared<Node>();
  v.node_->sequence = ++t_sequence;
  v.node_->home = std::move(home);
  return v;
}

Variable Variable::result(Tensor value, const std::vector<Variable>& inputs, Backward backward) {
  Variable v(std::move(value));
  const bool wanted = t_recording && std::any_of(inputs.begin(), inputs.end(),
                                                 [](const Variable& i) { return i.node_; });
  if (!wanted) return v;
  v.node_ = std::make_shared<Node>();
  v.node_->sequence = ++t_sequence;
  v.node_->backward = std::move(backward);
  for (const Variable& input : inputs) v.node_->inputs.push_back(input.node_);
  return v;
}

const Tensor& Variable::gradient() const {
  require(node_ != nullptr, "this variable needs no gradient");
  return node_->gradient;
}

void Variable::clear_gradient() {
  if (!node_) return;
  node_->gradient = Tensor();
  node_->home_taken = false;
}

// Nodes up to number `older` are leaves here: they collect gradients and keep them.
void propagate(const Variable& root, Tensor seed, uint64_t older) {
  require(root.node_ != nullptr, "backward: nothing upstream needs a gradient");
  require(seed.shape() == root.shape(), "backward: seed {} for a root of shape {}",
          to_string(seed.shape()), to_string(root.shape()));
  std::vector<std::shared_ptr<Node>> order{root.node_};
  std::unordered_set<Node*> seen{root.node_.get()};
  for (size_t i = 0; i < order.size(); ++i) {
    // A copy: order may reallocate while it grows.
    const std::shared_ptr<Node> node = order[i];
    require(!node->consumed, "backward: this tape was already consumed by an earlier backward()");
    for (const auto& input : node->inputs)
      if (input && input->sequence > older && seen.insert(input.get()).second)
        order.push_back(input);
  }
  std::sort(order.begin(), order.end(),
            [](const auto& a, const auto& b) { return a->sequence > b->sequence; });
  root.node_->gradient = std::move(seed);
  for (auto& node : order) {
    if (!node->backward) continue;  // a leaf keeps its gradient
    if (node->gradient) {
      GradientSink sink(node->inputs);
      node->backward(node->gradient, sink);
    }
    node->backward = nullptr;
    node->consumed = true;
    node->inputs.clear();
    node->gradient = Tensor();
    node.reset();
  }
}

void backward(const Variable& root, Tensor seed) {
  propagate(root, std::move(seed), 0);
}

Variable recomputed(const std::function<Variable()>& f, const std::vector<Variable>& inputs) {
  if (!t_recording) return f();
  Tensor value;
  {
    const NoGrad no_grad;
    value = f().value();
  }
  // The second run reads the very Variables that the first one read, so that what it adds to their
  // gradients arrives piece by piece and in the order of the plain call.
  return Variable::result(std::move(value), inputs, [f](const Tensor& dy, GradientSink&) {
    const uint64_t older = t_sequence;
    const Variable again = f();
    if (again.needs_gradient()) propagate(again, dy, older);
  });
}

}  // namespace diffscm
