#include "autograd/adamw.h"

#include <algorithm>
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
    p = Variable::leaf(home);
  }
  ema_ = values_.clone();
}

void Adamw::step(double lr_scale) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Variable& p = *parameters_[i];
    Tensor slot = gradients_.view(offsets_[i], p.shape());
    slot.copy_from(p.gradient() ? p.gradient() : Tensor::zeros(p.shape(), slot.target()));
    parameters_[i]->clear_gradient();
  }
  const auto& ops = operators(values_.target());
  Tensor norm2({1}, values_.target());
  ops.sample_dot(
      {1, gradients_.numel(), gradients_.data(), gradients_.data(), norm2.mutable_data()});
  gradient_rms_ = std::sqrt(norm2.to_vector()[0] / static_cast<double>(count_));

  ++steps_;
  const double t = static_cast<double>(steps_);
  const double decay = std::min(options_.ema_decay, (1 + t) / (10 + t));
  ops.adamw({.n = values_.numel(),
             .step = steps_,
             .lr = options_.lr * lr_scale,
             .beta1 = options_.beta1,
             .beta2 = options_.beta2,
             .eps = options_.eps,
             .weight_decay = options_.weight_decay,
             .ema_decay = decay,
             .gradient_scale = 1,
             .gradient = gradients_.data(),
             .parameter = values_.mutable_data(),
             .m = m_.mutable_data(),
             .v = v_.mutable_data(),
             .ema = ema_.mutable_data()});
}

void Adamw::swap_ema() {
  const Tensor average = ema_.clone();
  ema_.copy_from(values_);
  values_.copy_from(average);
}

}  // namespace diffscm
