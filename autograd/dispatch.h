// How a function of this folder reaches the operator for its tensors: by their dtype and target.
#pragma once

#include "engine/tensor.h"
#include "kernels/operators.h"

namespace diffscm {

// Calls f with a value of the storage type that `dtype` names, float or bf16; only its type is
// meant.
template <class F>
decltype(auto) with_storage(Dtype dtype, F&& f) {
  if (dtype == Dtype::bf16) return f(kernels::bf16{});
  require(dtype == Dtype::f32, "layers compute in f32 or bf16, not {}", name_of(dtype));
  return f(float{});
}

// Runs the operator that takes these arguments.
template <class Args>
void run(Target target, const Args& args) {
  operators(target).of(args)(args);
}

// Null for an empty tensor.
template <class T = float>
const T* data_or_null(const Tensor& t) {
  return t && t.numel() > 0 ? t.data<T>() : nullptr;
}
template <class T = float>
T* mutable_data_or_null(Tensor& t) {
  return t && t.numel() > 0 ? t.mutable_data<T>() : nullptr;
}

// x as `dtype`, rounded to nearest when that is bf16; x itself when it is that already.
Tensor cast(const Tensor& x, Dtype dtype);

// A master weight as the layers that compute in `dtype` read it; the copy, of all the memory that
// the weight is in, is kept with that memory until it changes.
Tensor weight_as(const Tensor& weight, Dtype dtype);

}  // namespace diffscm
