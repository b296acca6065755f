#include "autograd/adamw.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace diffscm {

Adamw::Adamw(std::vector<Variable*> parameters, AdamwOptions options)
    : parameters_(std::move(parameters)), options_(options) {
  require(!parameters_.empty(), "an optimiser needs at least one parameter");
  const Target target = parameters_.front()->value().target();
  int64_t total = 0;
  for (const Variable* p : parameters_) {
    offsets_.push_back(total);
    count_ += p->value().numel();
    // 16 floats = 64 bytes: every parameter keeps the alignment that kernels like.
    total += (p->value().numel() + 15) / 16 * 16;
  }
  for (Tensor* t : {&values_, &gradients_, &m_, &v_}) *t = Tensor::zeros({total}, target);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Variable& p = *parameters_[i];
    Tensor home = values_.view(offsets_[i], p.shape());
    home.copy_from(p.value());
    p = Variable::leaf(home, gradients_.view(offsets_[i], p.shape()));
  }
  ema_ = values_.clone();
  schedule_ = Tensor({4}, target, Dtype::f64);
  squared_gradient_ = Tensor::zeros({1}, target);
}

void Adamw::begin_step(double lr_scale) {
  ++steps_;
  const double t = static_cast<double>(steps_);
  const std::array<double, 4> schedule{options_.lr * lr_scale, 1 - std::pow(options_.beta1, t),
                                       1 - std::pow(options_.beta2, t),
                                       std::min(options_.ema_decay, (1 + t) / (10 + t))};
  schedule_.copy_from(Tensor::from(std::span<const double>(schedule), {4}));
}

void Adamw::apply_gradients() {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Variable& p = *parameters_[i];
    Tensor slot = gradients_.view(offsets_[i], p.shape());
    const Tensor& gradient = p.gradient();
    if (!gradient)
      slot.copy_from(Tensor::constant(p.shape(), 0, slot.target()));
    else if (gradient.data() != slot.data())
      slot.copy_from(gradient);
    parameters_[i]->clear_gradient();
  }
  const auto& ops = operators(values_.target());
  ops.sample_dot({1, gradients_.numel(), gradients_.data(), gradients_.data(),
                  squared_gradient_.mutable_data()});
  ops.adamw({.n = values_.numel(),
             .step = 0,
             .lr = 0,
             .beta1 = options_.beta1,
             .beta2 = options_.beta2,
             .eps = options_.eps,
             .weight_decay = options_.weight_decay,
             .ema_decay = 0,
             .gradient_scale = 1,
             .gradient = gradients_.data(),
             .parameter = values_.mutable_data(),
             .m = m_.mutable_data(),
             .v = v_.mutable_data(),
             .ema = ema_.mutable_data(),
             .schedule = schedule_.data<double>()});
}

double Adamw::gradient_rms(double squares) const {
  return std::sqrt(squares / static_cast<double>(count_));
}

void Adamw::swap_ema() {
  const Tensor average = ema_.clone();
  ema_.copy_from(values_);
  values_.copy_from(average);
}

}  // namespace diffscm
