// What group norm and the convolution that it is joined to have in common.
#pragma once

#include "autograd/dispatch.h"
#include "autograd/functions.h"

namespace diffscm {

// What group norm reads, and what its gradient reads again.
struct GroupNormInputs {
  int64_t n, hw, c0, c1;
  GroupNormOptions options;
  Tensor x0, x1, gamma, beta, scale_shift;

  // Throws where they do not fit each other; `who` begins the message.
  GroupNormInputs(const char* who, const Variable& x, const Variable& x1, const Variable& gamma,
                  const Variable& beta, const Variable& scale_shift,
                  const GroupNormOptions& options);

  int64_t c() const { return c0 + c1; }
  // Without results.
  template <class T>
  kernels::BasicGroupNormArgs<T> args() const {
    return {.n = n,
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
  }
  // With the statistics that were its results, which the backward only reads.
  template <class T>
  kernels::BasicGroupNormArgs<T> args_of(const Tensor& mean, const Tensor& rstd) const {
    auto forward = args<T>();
    forward.mean = const_cast<float*>(mean.data());
    forward.rstd = const_cast<float*>(rstd.data());
    return forward;
  }
  // Delivers what flows into x, x1, gamma, beta, scale and shift, the first five inputs of the
  // sink's operator, given that of the result.
  void propagate(const Tensor& mean, const Tensor& rstd, const Tensor& dy,
                 GradientSink& sink) const;
};

}  // namespace diffscm
