#include "autograd/functions.h"

namespace diffscm {
namespace {

Tensor column_sum(const Tensor& x, int64_t columns) {
  Tensor y({columns}, x.target());
  operators(x.target()).column_sum({x.numel() / columns, columns, x.data(), y.mutable_data()});
  return y;
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
  Tensor y(shape, w.target());
  operators(y.target())
      .matmul({rows, out, in, x.value().data(), in, false, w.data(), in, true,
               bias ? bias.value().data() : nullptr, residual ? residual.value().data() : nullptr,
               y.mutable_data(), out});
  return Variable::result(y, {x, weight, bias, residual},
                          [=, x = weight.needs_gradient() ? x.value() : Tensor(),
                           x_shape = x.shape(), weight = w](const Tensor& dy, GradientSink& sink) {
                            const auto& matmul = operators(dy.target()).matmul;
                            if (sink.wants(0)) {  // dx = dy W
                              Tensor dx(x_shape, dy.target());
                              matmul({rows, in, out, dy.data(), out, false, weight.data(), in,
                                      false, nullptr, nullptr, dx.mutable_data(), in});
                              sink.add(0, std::move(dx));
                            }
                            if (sink.wants(1)) {  // dW = dy^T x
                              Tensor dweight(weight.shape(), dy.target());
                              matmul({out, in, rows, dy.data(), out, true, x.data(), in, false,
                                      nullptr, nullptr, dweight.mutable_data(), in});
                              sink.add(1, std::move(dweight));
                            }
                            if (sink.wants(2)) sink.add(2, column_sum(dy, out));
                            if (sink.wants(3)) sink.add(3, dy);
                          });
}

}  // namespace diffscm
