#include "autograd/dispatch.h"
#include "autograd/functions.h"

namespace diffscm {
namespace {

kernels::ConvShape conv_shape(const Variable& x, const Variable& x1, const Variable& weight,
                              const Conv2dOptions& options) {
  require(x.value().rank() == 4 && weight.value().rank() == 4,
          "conv2d: input {} and weight {} must have 4 dimensions", to_string(x.shape()),
          to_string(weight.shape()));
  kernels::ConvShape s{.n = x.dim(0), .h = x.dim(1), .w = x.dim(2), .c0 = x.dim(3)};
  if (x1) {
    require(x1.value().rank() == 4 && x1.dim(0) == s.n && x1.dim(1) == s.h && x1.dim(2) == s.w,
            "conv2d: inputs {} and {} cannot be concatenated", to_string(x.shape()),
            to_string(x1.shape()));
    s.c1 = x1.dim(3);
  }
  s.k = weight.dim(0);
  s.r = weight.dim(1);
  s.s = weight.dim(2);
  s.stride = options.stride;
  s.upsample = options.upsample;
  require(weight.dim(3) == s.c(), "conv2d: weight {} expects {} input channels, got {}",
          to_string(weight.shape()), weight.dim(3), s.c());
  return s;
}

// The weight in the target's preferred arrangement, kept with the weight until it changes; null
// when there is none. Only f32 weights are packed.
template <class T>
struct Packed {
  Tensor tensor;
  const T* data = nullptr;
};
template <class T>
Packed<T> packed(const Tensor& weight, const kernels::ConvShape& shape, bool backward) {
  if constexpr (!std::is_same_v<T, float>) return {};
  const auto& pack = operators(weight.target()).conv2d_pack;
  const std::string key = fmt::format("conv2d {} {} {} {} {}", backward ? "backward" : "forward",
                                      shape.c0, shape.c1, shape.stride, shape.upsample);
  const Tensor found = weight.derived(key, [&] {
    int64_t floats = 0;
    pack({shape, backward, weight.data(), nullptr, &floats});
    Tensor out({floats}, weight.target());
    if (floats > 0) pack({shape, backward, weight.data(), out.mutable_data(), nullptr});
    return out;
  });
  return {found, data_or_null<T>(found)};
}

void backward_input(const kernels::ConvShape& s, const Tensor& dy, const Tensor& weight,
                    Tensor& dx0, Tensor& dx1) {
  with_storage(dy.dtype(), [&]<class T>(T) {
    const Packed<T> rearranged = packed<T>(weight, s, true);
    run(dy.target(), kernels::BasicConv2dBackwardInputArgs<T>{
                         s, dy.data<T>(), weight_as(weight, dy.dtype()).template data<T>(),
                         rearranged.data, dx0.mutable_data<T>(), mutable_data_or_null<T>(dx1)});
  });
}

}  // namespace

Variable conv2d(const Variable& x, const Variable& x1, const Variable& weight, const Variable& bias,
                const Variable& residual, const Conv2dOptions& options) {
  const kernels::ConvShape s = conv_shape(x, x1, weight, options);
  const Dtype dtype = x.value().dtype();
  Tensor y({s.n, s.p(), s.q(), s.k}, x.value().target(), dtype);
  require(!residual || residual.shape() == y.shape(), "conv2d: residual {} for an output {}",
          to_string(residual.shape()), to_string(y.shape()));
  require(!bias || bias.value().numel() == s.k, "conv2d: bias {} for {} output channels",
          to_string(bias.shape()), s.k);
  with_storage(dtype, [&]<class T>(T) {
    const Packed<T> rearranged = packed<T>(weight.value(), s, false);
    run(y.target(),
        kernels::BasicConv2dArgs<T>{s, x.value().data<T>(), data_or_null<T>(x1.value()),
                                    weight_as(weight.value(), dtype).template data<T>(),
                                    rearranged.data, data_or_null(bias.value()),
                                    data_or_null<T>(residual.value()), y.mutable_data<T>()});
  });
  return Variable::result(
      y, {x, x1, weight, bias, residual},
      [s, dtype, x = weight.needs_gradient() ? x.value() : Tensor(),
       x1 = weight.needs_gradient() ? x1.value() : Tensor(), weight = weight.value(),
       bias_shape = bias.shape()](const Tensor& dy, GradientSink& sink) {
        const Target target = dy.target();
        if (sink.wants(0) || sink.wants(1)) {
          Tensor dx0({s.n, s.h, s.w, s.c0}, target, dtype);
          Tensor dx1 = s.c1 > 0 ? Tensor({s.n, s.h, s.w, s.c1}, target, dtype) : Tensor();
          backward_input(s, dy, weight, dx0, dx1);
          sink.add(0, std::move(dx0));
          if (dx1) sink.add(1, std::move(dx1));
        }
        if (sink.wants(2)) {
          Tensor dweight = sink.place(2, weight.shape(), target);
          Tensor dbias = sink.wants(3) ? sink.place(3, bias_shape, target) : Tensor();
          with_storage(dtype, [&]<class T>(T) {
            run(target, kernels::BasicConv2dBackwardWeightArgs<T>{
                            s, x.data<T>(), data_or_null<T>(x1), dy.data<T>(),
                            dweight.mutable_data(), mutable_data_or_null(dbias)});
          });
          sink.add(2, std::move(dweight));
          if (dbias) sink.add(3, std::move(dbias));
        } else if (sink.wants(3)) {
          Tensor dbias = sink.place(3, bias_shape, target);
          with_storage(dtype, [&]<class T>(T) {
            run(target, kernels::BasicColumnSumArgs<T>{dy.numel() / s.k, s.k, dy.data<T>(),
                                                       dbias.mutable_data()});
          });
          sink.add(3, std::move(dbias));
        }
        if (sink.wants(4)) sink.add(4, dy);
      });
}

}  // namespace diffscm
