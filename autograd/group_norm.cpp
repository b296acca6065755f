#include "autograd/group_norm.h"

namespace diffscm {

GroupNormInputs::GroupNormInputs(const char* who, const Variable& x, const Variable& second,
                                 const Variable& gamma_, const Variable& beta_,
                                 const Variable& scale_shift_, const GroupNormOptions& options_)
    : options(options_),
      x0(x.value()),
      x1(second.value()),
      gamma(gamma_.value()),
      beta(beta_.value()),
      scale_shift(scale_shift_.value()) {
  require(x0.rank() >= 2, "{}: input {} needs at least 2 dimensions", who, to_string(x.shape()));
  n = x0.dim(0);
  c0 = x0.dim(-1);
  c1 = x1 ? x1.dim(-1) : 0;
  require(n > 0 && c0 > 0 && x0.numel() > 0, "{}: empty input {}", who, to_string(x.shape()));
  hw = x0.numel() / (n * c0);
  require(!x1 || x1.numel() == n * hw * c1, "{}: inputs {} and {} cannot be concatenated", who,
          to_string(x.shape()), to_string(second.shape()));
  require(gamma.numel() == c() && beta.numel() == c(), "{}: gamma {} and beta {} for {} channels",
          who, to_string(gamma.shape()), to_string(beta.shape()), c());
  require(!scale_shift || scale_shift.numel() == n * 2 * c(),
          "{}: scale and shift {} for {} samples of {} channels", who,
          to_string(scale_shift.shape()), n, c());
}

void GroupNormInputs::propagate(const Tensor& mean, const Tensor& rstd, const Tensor& dy,
                                GradientSink& sink) const {
  const Target target = dy.target();
  Tensor dx0(x0.shape(), target, x0.dtype());
  Tensor dx1 = x1 ? Tensor(x1.shape(), target, x0.dtype()) : Tensor();
  const Tensor before0 = sink.take(0), before1 = sink.take(1);
  Tensor dgamma = sink.wants(2) ? sink.place(2, gamma.shape(), target) : Tensor();
  Tensor dbeta = sink.wants(3) ? sink.place(3, beta.shape(), target) : Tensor();
  Tensor dscale_shift = sink.wants(4) ? Tensor(scale_shift.shape(), target) : Tensor();
  with_storage(x0.dtype(), [&]<class T>(T) {
    const kernels::BasicGroupNormBackwardArgs<T> backward{args_of<T>(mean, rstd),
                                                          dy.data<T>(),
                                                          dx0.mutable_data<T>(),
                                                          mutable_data_or_null<T>(dx1),
                                                          mutable_data_or_null(dgamma),
                                                          mutable_data_or_null(dbeta),
                                                          mutable_data_or_null(dscale_shift),
                                                          data_or_null<T>(before0),
                                                          data_or_null<T>(before1)};
    run(target, backward);
  });
  sink.add(0, std::move(dx0));
  if (dx1) sink.add(1, std::move(dx1));
  if (dgamma) sink.add(2, std::move(dgamma));
  if (dbeta) sink.add(3, std::move(dbeta));
  if (dscale_shift) sink.add(4, std::move(dscale_shift));
}

Variable group_norm(const Variable& x, const Variable& x1, const Variable& gamma,
                    const Variable& beta, const Variable& scale_shift,
                    const GroupNormOptions& options) {
  const GroupNormInputs in("group_norm", x, x1, gamma, beta, scale_shift, options);
  Shape shape = x.shape();
  shape.back() = in.c();
  const Target target = x.value().target();
  Tensor y(shape, target, x.value().dtype());
  Tensor mean({in.n, options.groups}, target), rstd({in.n, options.groups}, target);
  with_storage(y.dtype(), [&]<class T>(T) {
    auto forward = in.args<T>();
    forward.y = y.mutable_data<T>();
    forward.mean = mean.mutable_data();
    forward.rstd = rstd.mutable_data();
    run(target, forward);
  });
  return Variable::result(y, {x, x1, gamma, beta, scale_shift},
                          [in, mean, rstd](const Tensor& dy, GradientSink& sink) {
                            in.propagate(mean, rstd, dy, sink);
                          });
}

}  // namespace diffscm
