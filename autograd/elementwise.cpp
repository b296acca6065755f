#include "autograd/functions.h"

namespace diffscm {

Variable add(const Variable& a, const Variable& b) {
  require(a.shape() == b.shape(), "add: shapes {} and {} differ", to_string(a.shape()),
          to_string(b.shape()));
  Tensor y(a.shape(), a.value().target());
  operators(y.target())
      .linear_combination({y.numel(), 1, a.value().data(), 1, b.value().data(), y.mutable_data()});
  return Variable::result(y, {a, b}, [](const Tensor& dy, GradientSink& sink) {
    sink.add(0, dy);
    sink.add(1, dy);
  });
}

Variable negate(const Variable& x) {
  return scale(x, -1);
}

Variable scale(const Variable& x, float factor) {
  const auto times = [factor](const Tensor& t) {
    Tensor y(t.shape(), t.target());
    operators(t.target())
        .linear_combination({t.numel(), factor, t.data(), 0, nullptr, y.mutable_data()});
    return y;
  };
  return Variable::result(times(x.value()), {x}, [times](const Tensor& dy, GradientSink& sink) {
    sink.add(0, times(dy));
  });
}

Variable silu(const Variable& x) {
  Tensor y(x.shape(), x.value().target());
  operators(y.target()).silu({y.numel(), x.value().data(), y.mutable_data()});
  return Variable::result(y, {x}, [x = x.value()](const Tensor& dy, GradientSink& sink) {
    Tensor dx(x.shape(), x.target());
    operators(x.target()).silu_backward({x.numel(), x.data(), dy.data(), dx.mutable_data()});
    sink.add(0, std::move(dx));
  });
}

Variable relu(const Variable& x) {
  Tensor y(x.shape(), x.value().target());
  operators(y.target()).relu({y.numel(), x.value().data(), y.mutable_data()});
  return Variable::result(y, {x}, [y](const Tensor& dy, GradientSink& sink) {
    Tensor dx(y.shape(), y.target());
    operators(y.target()).relu_backward({y.numel(), y.data(), dy.data(), dx.mutable_data()});
    sink.add(0, std::move(dx));
  });
}

Variable max_pool(const Variable& x) {
  require(x.value().rank() == 4, "max_pool: input {} is not [N,H,W,C]", to_string(x.shape()));
  const int64_t n = x.dim(0), h = x.dim(1), w = x.dim(2), c = x.dim(3);
  Tensor y({n, h / 2, w / 2, c}, x.value().target());
  operators(y.target()).max_pool({n, h, w, c, x.value().data(), y.mutable_data()});
  return Variable::result(y, {x}, [=, x = x.value()](const Tensor& dy, GradientSink& sink) {
    Tensor dx({n, h, w, c}, dy.target());
    operators(dy.target()).max_pool_backward({n, h, w, c, x.data(), dy.data(), dx.mutable_data()});
    sink.add(0, std::move(dx));
  });
}

Variable avg_pool(const Variable& x) {
  require(x.value().rank() == 4, "avg_pool: input {} is not [N,H,W,C]", to_string(x.shape()));
  const int64_t n = x.dim(0), h = x.dim(1), w = x.dim(2), c = x.dim(3);
  Tensor y({n, h / 2, w / 2, c}, x.value().target());
  operators(y.target()).avg_pool({n, h, w, c, x.value().data(), y.mutable_data()});
  return Variable::result(y, {x}, [=](const Tensor& dy, GradientSink& sink) {
    Tensor dx({n, h, w, c}, dy.target());
    operators(dy.target()).avg_pool_backward({n, h, w, c, dy.data(), dx.mutable_data()});
    sink.add(0, std::move(dx));
  });
}

Variable reshape(const Variable& x, Shape shape) {
  return Variable::result(x.value().reshape(std::move(shape)), {x},
                          [original = x.shape()](const Tensor& dy, GradientSink& sink) {
                            sink.add(0, dy.reshape(original));
                          });
}

Tensor timestep_embedding(const Tensor& t, int64_t channels) {
  Tensor y({t.numel(), channels}, t.target());
  operators(t.target()).timestep_embedding({t.numel(), channels, t.data(), y.mutable_data()});
  return y;
}

}  // namespace diffscm
