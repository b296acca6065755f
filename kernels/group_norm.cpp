#include "kernels/group_norm.h"

#include "kernels/error.h"

namespace diffscm::kernels {
namespace {

template <class Args>
void check_shape(const char* name, const Args& a) {
  require(a.n >= 0 && a.hw >= 1 && a.c0 >= 1 && a.c1 >= 0,
          "{}: n, hw, c0, c1 are {}, {}, {}, {}, expected >= 0, >= 1, >= 1, >= 0", name, a.n, a.hw,
          a.c0, a.c1);
  require(a.groups >= 1 && (a.c0 + a.c1) % a.groups == 0,
          "{}: {} channels cannot be cut into {} equal groups", name, a.c0 + a.c1, a.groups);
  require(a.eps >= 0, "{}: eps is {}, expected >= 0", name, a.eps);
  require(a.n == 0 || (a.x0 && (a.x1 || a.c1 == 0)),
          "{}: x0 is null, or x1 is null although c1 is {}", name, a.c1);
}

template <class T>
void check_forward(const char* name, const BasicGroupNormArgs<T>& a) {
  check_shape(name, a);
  require(a.dropout.rate >= 0 && a.dropout.rate < 1, "{}: dropout rate is {}, not in [0, 1)", name,
          a.dropout.rate);
  if (a.n == 0) return;
  require(a.gamma && a.beta && a.mean && a.rstd, "{}: gamma, beta, mean or rstd is null", name);
}

}  // namespace

template <class T>
void check(const BasicGroupNormArgs<T>& args) {
  check_forward("group_norm", args);
  require(args.n == 0 || args.y, "group_norm: y is null");
}
template void check(const BasicGroupNormArgs<float>&);
template void check(const BasicGroupNormArgs<bf16>&);

void check(const NormCoefficientsArgs& a) {
  constexpr const char* kName = "norm_coefficients_bf16";
  check_shape(kName, a);
  require(a.c0 % 8 == 0 && a.c1 % 8 == 0 && (a.c0 + a.c1) / a.groups <= 256,
          "{}: {} + {} channels in {} groups: expected multiples of 8, and groups of up to 256",
          kName, a.c0, a.c1, a.groups);
  require(a.n == 0 || (a.gamma && a.beta && a.coefficients),
          "{}: gamma, beta or coefficients is null", kName);
}

template <class T>
void check(const BasicGroupNormBackwardArgs<T>& args) {
  check_forward("group_norm_backward", args.forward);
  require(args.forward.n == 0 || args.dy, "group_norm_backward: dy is null");
}
template void check(const BasicGroupNormBackwardArgs<float>&);
template void check(const BasicGroupNormBackwardArgs<bf16>&);

namespace {

void check_pooling(const char* name, const BasicGroupNormArgs<bf16>& a, int64_t h, int64_t w) {
  require(h >= 1 && w >= 1 && a.hw == h * w, "{}: images of {} x {} have no {} pixels", name, h, w,
          a.hw);
  require(a.c1 == 0 && a.silu && a.dropout.rate == 0, "{}: expected one input, SiLU and no dropout",
          name);
  require(pooling_joins(h, w, a.c0, a.groups), "{}: {} x {} pixels of {} channels in {} groups",
          name, h, w, a.c0, a.groups);
}

}  // namespace

void check(const PooledNormArgs& args) {
  constexpr const char* kName = "group_norm_pooled_bf16";
  check(args.norm);
  check_pooling(kName, args.norm, args.h, args.w);
  require(args.norm.n == 0 || args.pooled_x, "{}: pooled_x is null", kName);
}

void check(const PooledNormBackwardArgs& args) {
  check(args.norm);
  check_pooling("group_norm_pooled_backward_bf16", args.norm.forward, args.h, args.w);
}

}  // namespace diffscm::kernels
