#include "autograd/dispatch.h"
#include "autograd/functions.h"

namespace diffscm {
namespace {

void column_sum(const Tensor& x, int64_t columns, Tensor& y) {
  with_storage(x.dtype(), [&]<class T>(T) {
    run(x.target(), kernels::BasicColumnSumArgs<T>{x.numel() / columns, columns, x.data<T>(),
                                                   y.mutable_data()});
  });
}

}  // namespace

Variable linear(const Variable& x, const Variable& weight, const Variable& bias,
                const Variable& residual) {
  const Tensor& w = weight.value();
  const int64_t in = x.dim(-1), out = w.dim(0), rows = in == 0 ? 0 : x.value().numel() / in;
  require(w.rank() >= 2 && w.numel() == out * in, "linear: weight {} for an input {}",
          to_string(w.shape()), to_string(x.shape()));
  require(!bias || bias.value().numel() == out, "linear: bias {} for {} outputs",
          to_string(bias.shape()), out);
  Shape shape = x.shape();
  shape.back() = out;
  require(!residual || residual.shape() == shape, "linear: residual {} for an output {}",
          to_string(residual.shape()), to_string(shape));
  const Dtype dtype = x.value().dtype();
  Tensor y(shape, w.target(), dtype);
  with_storage(dtype, [&]<class T>(T) {
    run(y.target(),
        kernels::BasicMatmulArgs<T>{rows, out, in, x.value().data<T>(), in, false,
                                    weight_as(w, dtype).template data<T>(), in, true,
                                    data_or_null(bias.value()), data_or_null<T>(residual.value()),
                                    y.mutable_data<T>(), out});
  });
  return Variable::result(
      y, {x, weight, bias, residual},
      [=, x = weight.needs_gradient() ? x.value() : Tensor(), x_shape = x.shape(), weight = w](
          const Tensor& dy, GradientSink& sink) {
        const Target target = dy.target();
        with_storage(dtype, [&]<class T>(T) {
          if (sink.wants(0)) {  // dx = dy W
            Tensor dx(x_shape, target, dtype);
            run(target,
                kernels::BasicMatmulArgs<T>{rows, in, out, dy.data<T>(), out, false,
                                            weight_as(weight, dtype).template data<T>(), in, false,
                                            nullptr, nullptr, dx.mutable_data<T>(), in});
            sink.add(0, std::move(dx));
          }
          if (sink.wants(1)) {  // dW = dy^T x
            Tensor dweight = sink.place(1, weight.shape(), target);
            run(target, kernels::BasicMatmulArgs<T, float>{out, in, rows, dy.data<T>(), out, true,
                                                           x.data<T>(), in, false, nullptr, nullptr,
                                                           dweight.mutable_data(), in});
            sink.add(1, std::move(dweight));
          }
        });
        if (sink.wants(2)) {
          Tensor dbias = sink.place(2, {out}, target);
          column_sum(dy, out, dbias);
          sink.add(2, std::move(dbias));
        }
        if (sink.wants(3)) sink.add(3, dy);
      });
}

}  // namespace diffscm
