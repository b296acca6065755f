#include "autograd/dispatch.h"
#include "autograd/functions.h"

namespace diffscm {

Variable group_norm(const Variable& x, const Variable& x1, const Variable& gamma,
                    const Variable& beta, const Variable& scale_shift,
                    const GroupNormOptions& options) {
  const Tensor& first = x.value();
  require(first.rank() >= 2, "group_norm: input {} needs at least 2 dimensions",
          to_string(x.shape()));
  const int64_t n = first.dim(0), c0 = first.dim(-1), c1 = x1 ? x1.dim(-1) : 0, c = c0 + c1;
  require(n > 0 && c0 > 0 && first.numel() > 0, "group_norm: empty input {}", to_string(x.shape()));
  const int64_t hw = first.numel() / (n * c0);
  require(!x1 || x1.value().numel() == n * hw * c1,
          "group_norm: inputs {} and {} cannot be concatenated", to_string(x.shape()),
          to_string(x1.shape()));
  require(gamma.value().numel() == c && beta.value().numel() == c,
          "group_norm: gamma {} and beta {} for {} channels", to_string(gamma.shape()),
          to_string(beta.shape()), c);
  require(!scale_shift || scale_shift.value().numel() == n * 2 * c,
          "group_norm: scale and shift {} for {} samples of {} channels",
          to_string(scale_shift.shape()), n, c);

  Shape shape = x.shape();
  shape.back() = c;
  const Dtype dtype = first.dtype();
  Tensor y(shape, first.target(), dtype);
  Tensor mean({n, options.groups}, first.target()), rstd({n, options.groups}, first.target());
  const auto args = [=]<class T>(T, const Tensor& x0, const Tensor& x1, const Tensor& gamma,
                                 const Tensor& beta, const Tensor& scale_shift) {
    return kernels::BasicGroupNormArgs<T>{.n = n,
                                          .hw = hw,
                                          .c0 = c0,
                                          .c1 = c1,
                                          .groups = options.groups,
                                          .eps = options.eps,
                                          .silu = options.silu,
                                          .dropout = options.dropout,
                                          .x0 = x0.data<T>(),
                                          .x1 = data_or_null<T>(x1),
                                          .gamma = gamma.data(),
                                          .beta = beta.data(),
                                          .scale_shift = data_or_null(scale_shift),
                                          .y = nullptr,
                                          .mean = nullptr,
                                          .rstd = nullptr};
  };
  with_storage(dtype, [&]<class T>(T storage) {
    auto forward =
        args(storage, first, x1.value(), gamma.value(), beta.value(), scale_shift.value());
    forward.y = y.mutable_data<T>();
    forward.mean = mean.mutable_data();
    forward.rstd = rstd.mutable_data();
    run(y.target(), forward);
  });

  return Variable::result(
      y, {x, x1, gamma, beta, scale_shift},
      [args, dtype, mean, rstd, x0 = first, x1 = x1.value(), gamma = gamma.value(),
       beta = beta.value(),
       scale_shift = scale_shift.value()](const Tensor& dy, GradientSink& sink) {
        const Target target = dy.target();
        Tensor dx0(x0.shape(), target, dtype);
        Tensor dx1 = x1 ? Tensor(x1.shape(), target, dtype) : Tensor();
        const Tensor before0 = sink.take(0), before1 = sink.take(1);
        Tensor dgamma = sink.wants(2) ? sink.place(2, gamma.shape(), target) : Tensor();
        Tensor dbeta = sink.wants(3) ? sink.place(3, beta.shape(), target) : Tensor();
        Tensor dscale_shift = sink.wants(4) ? Tensor(scale_shift.shape(), target) : Tensor();
        with_storage(dtype, [&]<class T>(T storage) {
          kernels::BasicGroupNormBackwardArgs<T> backward{
              args(storage, x0, x1, gamma, beta, scale_shift),
              dy.data<T>(),
              dx0.mutable_data<T>(),
              mutable_data_or_null<T>(dx1),
              mutable_data_or_null(dgamma),
              mutable_data_or_null(dbeta),
              mutable_data_or_null(dscale_shift),
              data_or_null<T>(before0),
              data_or_null<T>(before1)};
          // The backward only reads the statistics.
          backward.forward.mean = const_cast<float*>(mean.data());
          backward.forward.rstd = const_cast<float*>(rstd.data());
          run(target, backward);
        });
        sink.add(0, std::move(dx0));
        if (dx1) sink.add(1, std::move(dx1));
        if (dgamma) sink.add(2, std::move(dgamma));
        if (dbeta) sink.add(3, std::move(dbeta));
        if (dscale_shift) sink.add(4, std::move(dscale_shift));
      });
}

}  // namespace diffscm
