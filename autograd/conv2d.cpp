#include <algorithm>

#include "autograd/group_norm.h"

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

// Of so few, each multiprocessor has one tile, and a copy of the image costs less than what that
// must do before it multiplies.
constexpr int64_t kFewPixels = 16;

// The weight in the target's preferred arrangement, kept with the weight until it changes; null
// when there is none.
template <class T>
struct Packed {
  Tensor tensor;
  const T* data = nullptr;
};
template <class T>
Packed<T> packed(const Tensor& weight, const kernels::ConvShape& shape, bool backward) {
  const auto& pack = operators(weight.target()).of(kernels::BasicConv2dPackArgs<T>{});
  const std::string key = fmt::format("conv2d {} {} {} {} {}", backward ? "backward" : "forward",
                                      shape.c0, shape.c1, shape.stride, shape.upsample);
  const Tensor found = weight.derived(key, [&] {
    int64_t elements = 0;
    pack({shape, backward, weight.data<T>(), nullptr, &elements});
    Tensor out({elements}, weight.target(), weight.dtype());
    if (elements > 0) pack({shape, backward, weight.data<T>(), out.mutable_data<T>(), nullptr});
    return out;
  });
  return {found, data_or_null<T>(found)};
}

// dy may be stored otherwise than dx0 and dx1, as in `mixed` below.
void backward_input(const kernels::ConvShape& s, const Tensor& dy, const Tensor& weight,
                    Tensor& dx0, Tensor& dx1) {
  if (dy.dtype() != dx0.dtype()) {
    using kernels::bf16;
    const auto compute = [&]<class T, class X>(T, X) {
      run(dy.target(), kernels::BasicConv2dBackwardInputArgs<T, X>{s, dy.data<T>(), weight.data(),
                                                                   nullptr, dx0.mutable_data<X>(),
                                                                   mutable_data_or_null<X>(dx1)});
    };
    return dy.dtype() == Dtype::bf16 ? compute(bf16{}, float{}) : compute(float{}, bf16{});
  }
  with_storage(dy.dtype(), [&]<class T>(T) {
    const Tensor stored = weight_as(weight, dy.dtype());
    const Packed<T> rearranged = packed<T>(stored, s, true);
    run(dy.target(), kernels::BasicConv2dBackwardInputArgs<T>{
                         s, dy.data<T>(), stored.data<T>(), rearranged.data, dx0.mutable_data<T>(),
                         mutable_data_or_null<T>(dx1)});
  });
}

// Delivers what flows into the two inputs of a convolution, from `input` on.
void propagate_to_input(const kernels::ConvShape& s, const Tensor& dy, const Tensor& weight,
                        Dtype dtype, size_t input, GradientSink& sink) {
  if (!sink.wants(input) && !sink.wants(input + 1)) return;
  Tensor dx0({s.n, s.h, s.w, s.c0}, dy.target(), dtype);
  Tensor dx1 = s.c1 > 0 ? Tensor({s.n, s.h, s.w, s.c1}, dy.target(), dtype) : Tensor();
  backward_input(s, dy, weight, dx0, dx1);
  sink.add(input, std::move(dx0));
  if (dx1) sink.add(input + 1, std::move(dx1));
}

// dweight, and dbias unless it is empty. Where dy is stored otherwise than x and the operator does
// not take them so, by way of copies in f32.
void backward_weight(const kernels::ConvShape& s, const Tensor& x, const Tensor& x1,
                     const Tensor& dy, Tensor& dweight, Tensor& dbias) {
  const auto compute = [&]<class T, class X>(T, X) {
    run(dy.target(), kernels::BasicConv2dBackwardWeightArgs<T, X>{
                         s, x.data<X>(), data_or_null<X>(x1), dy.data<T>(), dweight.mutable_data(),
                         mutable_data_or_null(dbias)});
  };
  if (dy.dtype() == x.dtype())
    return with_storage(dy.dtype(), [&]<class T>(T type) { compute(type, type); });
  const bool first = x.dtype() == Dtype::f32;
  if (!kernels::weight_gradient_of_few(s, first ? s.c0 : s.k, first ? s.k : s.c0))
    return backward_weight(s, cast(x, Dtype::f32), x1, cast(dy, Dtype::f32), dweight, dbias);
  first ? compute(kernels::bf16{}, float{}) : compute(float{}, kernels::bf16{});
}

// In f32, from or to bf16.
void mixed(const kernels::ConvShape& s, const Tensor& x, bool others, const Tensor& weight,
           const Tensor& bias, Tensor& y) {
  using kernels::bf16;
  require(!others, "conv2d: from {} to {} there is one input and no residual", name_of(x.dtype()),
          name_of(y.dtype()));
  const auto compute = [&]<class T, class Y>(T, Y) {
    run(y.target(),
        kernels::BasicConv2dArgs<T, Y>{s, x.data<T>(), nullptr, weight.data(), nullptr,
                                       data_or_null(bias), nullptr, y.mutable_data<Y>()});
  };
  y.dtype() == Dtype::bf16 ? compute(float{}, bf16{}) : compute(bf16{}, float{});
}

// As the operator sees it, beside a convolution of shape `s`.
kernels::ConvShortcut shortcut_of(const Shortcut& shortcut, const kernels::ConvShape& s) {
  using kernels::bf16;
  if (!shortcut.x) return {};
  const kernels::ConvShape own = conv_shape(shortcut.x, shortcut.x1, shortcut.weight, {});
  const bool fits = own.r == 1 && own.n == s.n && own.h == s.p() && own.w == s.q() && own.k == s.k;
  require(fits && (!shortcut.bias || shortcut.bias.value().numel() == s.k),
          "normalised_conv2d: shortcut {} through {} with bias {} for an output [{}, {}, {}, {}]",
          to_string(shortcut.x.shape()), to_string(shortcut.weight.shape()),
          to_string(shortcut.bias.shape()), s.n, s.p(), s.q(), s.k);
  return {own.c0,
          own.c1,
          shortcut.x.value().data<bf16>(),
          data_or_null<bf16>(shortcut.x1.value()),
          weight_as(shortcut.weight.value(), Dtype::bf16).data<bf16>(),
          data_or_null(shortcut.bias.value())};
}

}  // namespace

Variable conv2d(const Variable& x, const Variable& x1, const Variable& weight, const Variable& bias,
                const Variable& residual, const Conv2dOptions& options,
                std::optional<Dtype> result) {
  const kernels::ConvShape s = conv_shape(x, x1, weight, options);
  const Dtype from = x.value().dtype(), to = result.value_or(from);
  const Dtype dtype = from == to ? from : Dtype::f32;  // computed in
  Tensor y({s.n, s.p(), s.q(), s.k}, x.value().target(), to);
  require(!residual || residual.shape() == y.shape(), "conv2d: residual {} for an output {}",
          to_string(residual.shape()), to_string(y.shape()));
  require(!bias || bias.value().numel() == s.k, "conv2d: bias {} for {} output channels",
          to_string(bias.shape()), s.k);
  if (from != to) {
    mixed(s, x.value(), x1 || residual, weight.value(), bias.value(), y);
  } else {
    with_storage(dtype, [&]<class T>(T) {
      const Tensor stored = weight_as(weight.value(), dtype);
      const Packed<T> rearranged = packed<T>(stored, s, false);
      run(y.target(),
          kernels::BasicConv2dArgs<T>{s, x.value().data<T>(), data_or_null<T>(x1.value()),
                                      stored.data<T>(), rearranged.data, data_or_null(bias.value()),
                                      data_or_null<T>(residual.value()), y.mutable_data<T>()});
    });
  }
  return Variable::result(
      y, {x, x1, weight, bias, residual},
      [s, from, x = weight.needs_gradient() ? x.value() : Tensor(),
       x1 = weight.needs_gradient() ? x1.value() : Tensor(), weight = weight.value(),
       bias_shape = bias.shape()](const Tensor& dy, GradientSink& sink) {
        propagate_to_input(s, dy, weight, from, 0, sink);
        const Target target = dy.target();
        if (sink.wants(2)) {
          Tensor dweight = sink.place(2, weight.shape(), target);
          Tensor dbias = sink.wants(3) ? sink.place(3, bias_shape, target) : Tensor();
          backward_weight(s, x, x1, dy, dweight, dbias);
          sink.add(2, std::move(dweight));
          if (dbias) sink.add(3, std::move(dbias));
        } else if (sink.wants(3)) {
          Tensor dbias = sink.place(3, bias_shape, target);
          with_storage(dy.dtype(), [&]<class T>(T) {
            run(target, kernels::BasicColumnSumArgs<T>{dy.numel() / s.k, s.k, dy.data<T>(),
                                                       dbias.mutable_data()});
          });
          sink.add(3, std::move(dbias));
        }
        if (sink.wants(4)) sink.add(4, dy);
      });
}

Variable normalised_conv2d(const Variable& x, const Variable& x1, const Variable& gamma,
                           const Variable& beta, const Variable& scale_shift,
                           const GroupNormOptions& norm, const Variable& weight,
                           const Variable& bias, const Variable& residual,
                           const Conv2dOptions& options, const Shortcut& shortcut) {
  using kernels::bf16;
  require(!shortcut.x || !residual, "normalised_conv2d: a shortcut and a residual");
  const kernels::ConvShape s = conv_shape(x, x1, weight, options);
  const auto recorded_for = [](std::initializer_list<Variable> inputs) {
    return recording() && std::ranges::any_of(inputs, &Variable::needs_gradient);
  };
  const bool learns =
      recorded_for({gamma, beta, scale_shift, weight, bias, shortcut.weight, shortcut.bias});
  const bool joins = !learns && x.value().dtype() == Dtype::bf16 && norm.silu &&
                     norm.dropout.rate == 0 && s.c() <= 256 * norm.groups &&
                     s.h * s.w >= kFewPixels && kernels::normalisation_joins(s);
  if (!joins) {
    const Variable added =
        shortcut.x ? conv2d(shortcut.x, shortcut.x1, shortcut.weight, shortcut.bias, {}) : residual;
    return conv2d(group_norm(x, x1, gamma, beta, scale_shift, norm), {}, weight, bias, added,
                  options);
  }
  const GroupNormInputs in("normalised_conv2d", x, x1, gamma, beta, scale_shift, norm);
  const Target target = x.value().target();
  const bf16* second = data_or_null<bf16>(x1.value());
  Tensor coefficients({s.n, 2, s.c()}, target), y({s.n, s.h, s.w, s.k}, target, Dtype::bf16);
  Tensor mean, rstd;
  if (recorded_for({x, x1})) {
    mean = Tensor({s.n, norm.groups}, target);
    rstd = Tensor({s.n, norm.groups}, target);
  }
  require((!bias || bias.value().numel() == s.k) && (!residual || residual.shape() == y.shape()),
          "normalised_conv2d: bias {} and residual {} for an output {}", to_string(bias.shape()),
          to_string(residual.shape()), to_string(y.shape()));
  run(target, kernels::NormCoefficientsArgs{s.n, s.h * s.w, s.c0, s.c1, norm.groups, norm.eps,
                                            x.value().data<bf16>(), second, gamma.value().data(),
                                            beta.value().data(), data_or_null(scale_shift.value()),
                                            coefficients.mutable_data(), mutable_data_or_null(mean),
                                            mutable_data_or_null(rstd)});
  run(target,
      kernels::NormalisedConv2dArgs{
          {s, x.value().data<bf16>(), second, weight_as(weight.value(), Dtype::bf16).data<bf16>(),
           nullptr, data_or_null(bias.value()), data_or_null<bf16>(residual.value()),
           y.mutable_data<bf16>()},
          coefficients.data(),
          shortcut_of(shortcut, s)});
  // As the two operators in turn: x gives the normalised image back.
  return Variable::result(
      y, {x, x1, gamma, beta, scale_shift, residual, shortcut.x, shortcut.x1},
      [s, in, mean, rstd, weight = weight.value(), cut_weight = shortcut.weight.value(),
       cut = shortcut.x ? conv_shape(shortcut.x, shortcut.x1, shortcut.weight, {})
                        : kernels::ConvShape{}](const Tensor& dy, GradientSink& sink) {
        if (sink.wants(5)) sink.add(5, dy);
        propagate_to_input(cut, dy, cut_weight, Dtype::bf16, 6, sink);
        if (!sink.wants(0) && !sink.wants(1)) return;
        kernels::ConvShape of_normalised = s;
        of_normalised.c0 = s.c();
        of_normalised.c1 = 0;
        Tensor normalised({s.n, s.h, s.w, s.c()}, dy.target(), Dtype::bf16), none;
        backward_input(of_normalised, dy, weight, normalised, none);
        in.propagate(mean, rstd, normalised, sink);
      });
}

}  // namespace diffscm
