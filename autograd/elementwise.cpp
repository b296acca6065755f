#include "autograd/dispatch.h"
#include "autograd/functions.h"

namespace diffscm {

Variable add(const Variable& a, const Variable& b) {
  require(a.shape() == b.shape(), "add: shapes {} and {} differ", to_string(a.shape()),
          to_string(b.shape()));
  return Variable::result(add(a.value(), b.value()), {a, b},
                          [](const Tensor& dy, GradientSink& sink) {
                            sink.add(0, dy);
                            sink.add(1, dy);
                          });
}

Variable negate(const Variable& x) {
  return scale(x, -1);
}

Variable scale(const Variable& x, float factor) {
  const auto times = [factor](const Tensor& t) {
    Tensor y(t.shape(), t.target(), t.dtype());
    with_storage(t.dtype(), [&]<class T>(T) {
      run(t.target(), kernels::BasicLinearCombinationArgs<T>{t.numel(), factor, t.data<T>(), 0,
                                                             nullptr, y.mutable_data<T>()});
    });
    return y;
  };
  return Variable::result(times(x.value()), {x}, [times](const Tensor& dy, GradientSink& sink) {
    sink.add(0, times(dy));
  });
}

Variable silu(const Variable& x) {
  const Tensor& in = x.value();
  Tensor y(in.shape(), in.target(), in.dtype());
  with_storage(in.dtype(), [&]<class T>(T) {
    run(in.target(), kernels::BasicSiluArgs<T>{in.numel(), in.data<T>(), y.mutable_data<T>()});
  });
  return Variable::result(y, {x}, [x = in](const Tensor& dy, GradientSink& sink) {
    Tensor dx(x.shape(), x.target(), x.dtype());
    with_storage(x.dtype(), [&]<class T>(T) {
      run(x.target(), kernels::BasicSiluBackwardArgs<T>{x.numel(), x.data<T>(), dy.data<T>(),
                                                        dx.mutable_data<T>()});
    });
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
  const Tensor& in = x.value();
  Tensor y({n, h / 2, w / 2, c}, in.target(), in.dtype());
  with_storage(in.dtype(), [&]<class T>(T) {
    run(in.target(), kernels::BasicAvgPoolArgs<T>{n, h, w, c, in.data<T>(), y.mutable_data<T>()});
  });
  return Variable::result(y, {x}, [=](const Tensor& dy, GradientSink& sink) {
    Tensor dx({n, h, w, c}, dy.target(), dy.dtype());
    with_storage(dy.dtype(), [&]<class T>(T) {
      run(dy.target(),
          kernels::BasicAvgPoolBackwardArgs<T>{n, h, w, c, dy.data<T>(), dx.mutable_data<T>()});
    });
    sink.add(0, std::move(dx));
  });
}

Variable reshape(const Variable& x, Shape shape) {
  return Variable::result(x.value().reshape(std::move(shape)), {x},
                          [original = x.shape()](const Tensor& dy, GradientSink& sink) {
                            sink.add(0, dy.reshape(original));
                          });
}

Tensor timestep_embedding(const Tensor& t, int64_t channels, bool last_frequency) {
  Tensor y({t.numel(), channels}, t.target());
  operators(t.target())
      .timestep_embedding({t.numel(), channels, t.data(), y.mutable_data(), last_frequency});
  return y;
}

}  // namespace diffscm
