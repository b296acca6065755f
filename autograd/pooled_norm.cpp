// Group norm before pooling, and pooling beside it: two results of one operator.
#include "autograd/group_norm.h"

namespace diffscm {
namespace {

using kernels::bf16;

// What flows into x from the gradients of both results, of which one may be missing.
void propagate_both(const GroupNormInputs& in, const Tensor& mean, const Tensor& rstd,
                    const Tensor& dy, const Tensor& dpooled, GradientSink& sink) {
  const Target target = in.x0.target();
  const int64_t h = in.x0.dim(1), w = in.x0.dim(2), c = in.c();
  Tensor dx(in.x0.shape(), target, Dtype::bf16);
  if (!dy) {
    run(target, kernels::BasicAvgPoolBackwardArgs<bf16>{in.n, h, w, c, dpooled.data<bf16>(),
                                                        dx.mutable_data<bf16>()});
    sink.add(0, std::move(dx));
    return;
  }
  Tensor dgamma = sink.wants(1) ? sink.place(1, in.gamma.shape(), target) : Tensor();
  Tensor dbeta = sink.wants(2) ? sink.place(2, in.beta.shape(), target) : Tensor();
  const kernels::BasicGroupNormBackwardArgs<bf16> norm{.forward = in.args_of<bf16>(mean, rstd),
                                                       .dy = dy.data<bf16>(),
                                                       .dx0 = dx.mutable_data<bf16>(),
                                                       .dx1 = nullptr,
                                                       .dgamma = mutable_data_or_null(dgamma),
                                                       .dbeta = mutable_data_or_null(dbeta),
                                                       .dscale_shift = nullptr,
                                                       .add0 = data_or_null<bf16>(dpooled)};
  run(target, kernels::PooledNormBackwardArgs{norm, h, w});
  sink.add(0, std::move(dx));
  if (dgamma) sink.add(1, std::move(dgamma));
  if (dbeta) sink.add(2, std::move(dbeta));
}

}  // namespace

PooledNorm pooled_group_norm(const Variable& x, const Variable& gamma, const Variable& beta,
                             const GroupNormOptions& options) {
  const Tensor& image = x.value();
  const bool joins =
      image.dtype() == Dtype::bf16 && image.rank() == 4 && options.silu &&
      options.dropout.rate == 0 && image.dim(3) % options.groups == 0 &&
      kernels::pooling_joins(image.dim(1), image.dim(2), image.dim(3), options.groups);
  if (!joins) return {avg_pool(group_norm(x, {}, gamma, beta, {}, options)), avg_pool(x)};
  const GroupNormInputs in("pooled_group_norm", x, {}, gamma, beta, {}, options);
  const Target target = image.target();
  const int64_t h = image.dim(1), w = image.dim(2);
  const Shape halved{in.n, h / 2, w / 2, in.c()};
  Tensor y(halved, target, Dtype::bf16), pooled(halved, target, Dtype::bf16);
  Tensor mean({in.n, options.groups}, target), rstd({in.n, options.groups}, target);
  kernels::BasicGroupNormArgs<bf16> norm = in.args<bf16>();
  norm.y = y.mutable_data<bf16>();
  norm.mean = mean.mutable_data();
  norm.rstd = rstd.mutable_data();
  run(target, kernels::PooledNormArgs{norm, h, w, pooled.mutable_data<bf16>()});

  // The tape has one result per node. Either's gradient waits until the node that both come from is
  // reached, which is when they are there; the first of them marks it.
  struct Gradients {
    Tensor dy, dpooled;
  };
  const auto waiting = std::make_shared<Gradients>();
  const Variable joint = Variable::result(
      image, {x, gamma, beta}, [in, mean, rstd, waiting](const Tensor&, GradientSink& sink) {
        const Gradients both = std::exchange(*waiting, {});
        propagate_both(in, mean, rstd, both.dy, both.dpooled, sink);
      });
  const auto result = [&](const Tensor& value, Tensor Gradients::*which) {
    return Variable::result(value, {joint}, [waiting, which](const Tensor& dy, GradientSink& sink) {
      const bool first = !waiting->dy && !waiting->dpooled;
      (*waiting).*which = dy;
      if (first) sink.add(0, dy);
    });
  };
  return {result(y, &Gradients::dy), result(pooled, &Gradients::dpooled)};
}

}  // namespace diffscm
