#include "autograd/dispatch.h"
#include "autograd/functions.h"

namespace diffscm {

Tensor cast(const Tensor& x, Dtype dtype) {
  using kernels::bf16, kernels::CastArgs;
  if (x.dtype() == dtype) return x;
  Tensor y(x.shape(), x.target(), dtype);
  if (dtype == Dtype::bf16)
    run(x.target(), CastArgs<float, bf16>{x.numel(), x.data(), y.mutable_data<bf16>()});
  else
    run(x.target(), CastArgs<bf16, float>{x.numel(), x.data<bf16>(), y.mutable_data()});
  return y;
}

Tensor weight_as(const Tensor& weight, Dtype dtype) {
  if (weight.dtype() == dtype) return weight;
  // All weights of an optimiser's arena change together: one cast serves them all.
  const Tensor arena = weight.whole();
  return arena.derived(fmt::format("as {}", name_of(dtype)), [&] { return cast(arena, dtype); })
      .view(weight.offset(), weight.shape());
}

Variable cast(const Variable& x, Dtype dtype) {
  const Dtype from = x.value().dtype();
  if (from == dtype) return x;
  return Variable::result(
      cast(x.value(), dtype), {x},
      [from](const Tensor& dy, GradientSink& sink) { sink.add(0, cast(dy, from)); });
}

}  // namespace diffscm
