#include "autograd/dispatch.h"
#include "autograd/functions.h"

namespace diffscm {

Variable attention(const Variable& qkv, int64_t heads, kernels::QkvLayout layout, int64_t queries) {
  require(qkv.value().rank() == 3 && qkv.dim(2) % 3 == 0, "attention: qkv {} is not [N,T,3C]",
          to_string(qkv.shape()));
  const int64_t n = qkv.dim(0), tokens = qkv.dim(1), channels = qkv.dim(2) / 3;
  const Target target = qkv.value().target();
  const Dtype dtype = qkv.value().dtype();
  Tensor out({n, queries, channels}, target, dtype), lse({n, heads, queries}, target);
  with_storage(dtype, [&]<class T>(T) {
    run(target, kernels::BasicAttentionArgs<T>{n, tokens, queries, channels, heads, layout,
                                               qkv.value().data<T>(), out.mutable_data<T>(),
                                               lse.mutable_data()});
  });
  return Variable::result(out, {qkv}, [=, qkv = qkv.value()](const Tensor& dy, GradientSink& sink) {
    Tensor dqkv(qkv.shape(), target, dtype);
    with_storage(dtype, [&]<class T>(T) {
      // The backward only reads out and lse.
      run(target, kernels::BasicAttentionBackwardArgs<T>{
                      {n, tokens, queries, channels, heads, layout, qkv.data<T>(),
                       const_cast<T*>(out.data<T>()), const_cast<float*>(lse.data())},
                      dy.data<T>(),
                      dqkv.mutable_data<T>()});
    });
    sink.add(0, std::move(dqkv));
  });
}

Variable pool_tokens(const Variable& x, const Variable& position) {
  require(x.value().rank() == 4, "pool_tokens: input {} is not [N,H,W,C]", to_string(x.shape()));
  const int64_t n = x.dim(0), hw = x.dim(1) * x.dim(2), c = x.dim(3);
  require(position.shape() == Shape({hw + 1, c}), "pool_tokens: position {} for an input {}",
          to_string(position.shape()), to_string(x.shape()));
  const Target target = x.value().target();
  const Dtype dtype = x.value().dtype();
  Tensor y({n, hw + 1, c}, target, dtype);
  with_storage(dtype, [&]<class T>(T) {
    run(target, kernels::BasicPoolTokensArgs<T>{n, hw, c, x.value().data<T>(),
                                                position.value().data(), y.mutable_data<T>()});
  });
  return Variable::result(
      y, {x, position},
      [=, x_shape = x.shape(), p_shape = position.shape()](const Tensor& dy, GradientSink& sink) {
        Tensor dx = sink.wants(0) ? Tensor(x_shape, target, dtype) : Tensor();
        Tensor dposition = sink.wants(1) ? sink.place(1, p_shape, target) : Tensor();
        with_storage(dtype, [&]<class T>(T) {
          run(target, kernels::BasicPoolTokensBackwardArgs<T>{n, hw, c, dy.data<T>(),
                                                              mutable_data_or_null<T>(dx),
                                                              mutable_data_or_null(dposition)});
        });
        if (dx) sink.add(0, std::move(dx));
        if (dposition) sink.add(1, std::move(dposition));
      });
}

}  // namespace diffscm
