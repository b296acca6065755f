#include <algorithm>

#include "autograd/dispatch.h"
#include "autograd/functions.h"

namespace diffscm {
namespace {

using Layers = std::vector<LinearParameters>;

// The gradients of those outputs that received one; inputs of the tape are x, then weight and bias
// of each layer.
void propagate_group(const Tensor& x, const Shape& x_shape, const Layers& layers,
                     const std::vector<Tensor>& dys, Target target, GradientSink& sink) {
  std::vector<kernels::LinearGroupBackwardArgs::Layer> group;
  std::vector<std::pair<size_t, Tensor>> gradients;
  for (size_t l = 0; l < layers.size(); ++l) {
    if (!dys[l]) continue;
    const auto place = [&](size_t input, const Variable& parameter) -> float* {
      if (!sink.wants(input)) return nullptr;
      gradients.emplace_back(input, sink.place(input, parameter.shape(), target));
      return gradients.back().second.mutable_data();
    };
    const Tensor& weight = layers[l].weight.value();
    group.push_back({.out = weight.dim(0),
                     .weight = weight.data(),
                     .dy = dys[l].data(),
                     .dweight = place(1 + 2 * l, layers[l].weight),
                     .dbias = place(2 + 2 * l, layers[l].bias)});
  }
  const int64_t in = x_shape.back();
  Tensor dx = sink.wants(0) ? Tensor(x_shape, target) : Tensor();
  run(target, kernels::LinearGroupBackwardArgs{.m = in == 0 ? 0 : numel(x_shape) / in,
                                               .k = in,
                                               .x = data_or_null(x),
                                               .count = static_cast<int64_t>(group.size()),
                                               .layers = group.data(),
                                               .dx = mutable_data_or_null(dx)});
  if (dx) sink.add(0, std::move(dx));
  for (auto& [input, gradient] : gradients) sink.add(input, std::move(gradient));
}

}  // namespace

std::vector<Variable> linear_group(const Variable& x, const Layers& layers) {
  const int64_t in = x.dim(-1), rows = in == 0 ? 0 : x.value().numel() / in;
  const Target target = x.value().target();
  std::vector<Tensor> y;
  std::vector<Variable> inputs{x};
  std::vector<kernels::LinearGroupArgs::Layer> group;
  bool learns = false;
  for (const auto& [weight, bias] : layers) {
    const int64_t out = weight.dim(0);
    require(weight.value().numel() == out * in, "linear_group: weight {} for an input {}",
            to_string(weight.shape()), to_string(x.shape()));
    require(!bias || bias.value().numel() == out, "linear_group: bias {} for {} outputs",
            to_string(bias.shape()), out);
    Shape shape = x.shape();
    shape.back() = out;
    y.emplace_back(shape, target);
    group.push_back({out, weight.value().data(), data_or_null(bias.value()),
                     mutable_data_or_null(y.back()), out});
    inputs.insert(inputs.end(), {weight, bias});
    learns = learns || weight.needs_gradient();
  }
  run(target, kernels::LinearGroupArgs{rows, in, x.value().data(),
                                       static_cast<int64_t>(group.size()), group.data()});

  // The tape has one result per node. The outputs' gradients wait until the node that all outputs
  // come from is reached, which is when they are all there; the first of them marks it.
  const auto dys = std::make_shared<std::vector<Tensor>>(layers.size());
  const Variable joint =
      Variable::result(x.value(), inputs,
                       [layers, dys, target, x_shape = x.shape(),
                        x = learns ? x.value() : Tensor()](const Tensor&, GradientSink& sink) {
                         propagate_group(x, x_shape, layers, *dys, target, sink);
                         dys->assign(dys->size(), Tensor());
                       });
  std::vector<Variable> results;
  for (size_t l = 0; l < y.size(); ++l)
    results.push_back(
        Variable::result(y[l], {joint}, [dys, l](const Tensor& dy, GradientSink& sink) {
          const bool first = std::none_of(dys->begin(), dys->end(),
                                          [](const Tensor& t) { return static_cast<bool>(t); });
          (*dys)[l] = dy;
          if (first) sink.add(0, dy);
        }));
  return results;
}

}  // namespace diffscm
