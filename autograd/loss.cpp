// Losses give one value per sample. Their kernels compute value and gradient together, for unit
// weight; the incoming gradient then scales each sample.
#include "autograd/functions.h"

namespace diffscm {
namespace {

// out[n, e] = weight[n] * x[n, e]
Tensor scale_samples(const Tensor& x, const Tensor& weight) {
  Tensor out(x.shape(), x.target());
  operators(x.target())
      .combine_samples({.n = weight.numel(),
                        .elements = x.numel() / weight.numel(),
                        .a = weight.data(),
                        .x = x.data(),
                        .b = nullptr,
                        .z = nullptr,
                        .y = out.mutable_data()});
  return out;
}

}  // namespace

Variable mse_loss(const Variable& prediction, const Tensor& target, const Tensor& weight) {
  const Tensor& p = prediction.value();
  require(p.shape() == target.shape() && p.rank() >= 1 && p.numel() > 0,
          "mse_loss: prediction {} against target {}", to_string(p.shape()),
          to_string(target.shape()));
  const int64_t n = p.dim(0), elements = p.numel() / n;
  require(!weight || weight.numel() == n, "mse_loss: {} weights for {} samples",
          weight ? weight.numel() : 0, n);
  Tensor loss({n}, p.target());
  const bool wanted = prediction.needs_gradient() && recording();
  Tensor gradient = wanted ? Tensor(p.shape(), p.target()) : Tensor();
  operators(p.target())
      .mse({n, elements, 1.0f, p.data(), target.data(), loss.mutable_data(),
            gradient ? gradient.mutable_data() : nullptr});
  return Variable::result(weight ? scale_samples(loss, weight) : loss, {prediction},
                          [gradient, weight](const Tensor& dy, GradientSink& sink) {
                            const Tensor scale = weight ? scale_samples(dy, weight) : dy;
                            sink.add(0, scale_samples(gradient, scale));
                          });
}

Variable variational_bound(const Tensor& eps, const Variable& v, const Tensor& noise,
                           const Tensor& x_t, const Tensor& step) {
  const Shape& shape = v.shape();
  for (const Tensor& other : {eps, noise, x_t})
    require(other.shape() == shape && !shape.empty() && v.value().numel() > 0,
            "variational_bound: {} beside v {}", to_string(other.shape()), to_string(shape));
  const int64_t n = shape[0];
  require(step.shape() == Shape({n, 4}), "variational_bound: steps {} for {} samples",
          to_string(step.shape()), n);
  Tensor loss({n}, eps.target());
  const bool wanted = v.needs_gradient() && recording();
  Tensor gradient = wanted ? Tensor(shape, eps.target()) : Tensor();
  operators(eps.target())
      .variational_bound({n, eps.numel() / n, 1.0f, eps.data(), v.value().data(), noise.data(),
                          x_t.data(), step.data(), loss.mutable_data(),
                          gradient ? gradient.mutable_data() : nullptr});
  return Variable::result(loss, {v}, [gradient](const Tensor& dy, GradientSink& sink) {
    sink.add(0, scale_samples(gradient, dy));
  });
}

Variable log_softmax_at(const Variable& logits, const std::vector<int64_t>& labels) {
  const Tensor& l = logits.value();
  require(l.rank() == 2 && l.dim(0) == static_cast<int64_t>(labels.size()),
          "log_softmax_at: {} labels for logits {}", labels.size(), to_string(l.shape()));
  require_labels(labels, l.dim(1));
  return log_softmax_at(logits, Tensor::from(labels, {l.dim(0)}, l.target()));
}

Variable log_softmax_at(const Variable& logits, const Tensor& labels) {
  const Tensor& l = logits.value();
  require(l.rank() == 2 && l.dim(0) == labels.numel(), "log_softmax_at: {} labels for logits {}",
          labels.numel(), to_string(l.shape()));
  const int64_t n = l.dim(0), classes = l.dim(1);
  Tensor log_p({n}, l.target());
  const bool wanted = logits.needs_gradient() && recording();
  Tensor gradient = wanted ? Tensor(l.shape(), l.target()) : Tensor();
  operators(l.target())
      .log_softmax({n, classes, 1.0f, l.data(), labels.data<int64_t>(), log_p.mutable_data(),
                    nullptr, gradient ? gradient.mutable_data() : nullptr});
  return Variable::result(log_p, {logits}, [gradient](const Tensor& dy, GradientSink& sink) {
    sink.add(0, scale_samples(gradient, dy));
  });
}

void require_labels(const std::vector<int64_t>& labels, int64_t classes) {
  for (const int64_t label : labels)
    require(label >= 0 && label < classes, "label {} is outside the {} classes of this model",
            label, classes);
}

}  // namespace diffscm
