#include "kernels/conv2d.h"

#include "kernels/error.h"

namespace diffscm::kernels {
namespace {

void check_shape(const char* name, const ConvShape& s) {
  require(s.n >= 1 && s.h >= 1 && s.w >= 1 && s.c0 >= 1 && s.c1 >= 0 && s.k >= 1,
          "{}: sizes must be at least 1 (c1: 0), got n={} h={} w={} c0={} c1={} k={}", name, s.n,
          s.h, s.w, s.c0, s.c1, s.k);
  require(s.r == s.s && (s.r == 1 || s.r == 3), "{}: the filter must be 1x1 or 3x3, got {}x{}",
          name, s.r, s.s);
  require(s.stride == 1 || s.stride == 2, "{}: stride must be 1 or 2, got {}", name, s.stride);
  require(!s.upsample || (s.stride == 1 && s.r == 3),
          "{}: an upsampled input needs a 3x3 filter with stride 1, got {}x{} with stride {}", name,
          s.r, s.s, s.stride);
  require(s.c1 == 0 || (s.stride == 1 && !s.upsample),
          "{}: two inputs (c1={}) need stride 1 and no upsampling, got stride {} and upsample={}",
          name, s.c1, s.stride, s.upsample);
}

void check_pointer(const char* name, const char* argument, const void* pointer) {
  require(pointer != nullptr, "{}: {} is null", name, argument);
}

void check_second(const char* name, const char* argument, int64_t c1, const void* pointer) {
  require((pointer != nullptr) == (c1 > 0), "{}: {} must be given exactly when c1 > 0, got c1={}",
          name, argument, c1);
}

}  // namespace

template <class T, class Y>
void check(const BasicConv2dArgs<T, Y>& args) {
  constexpr const char* kName = "conv2d";
  check_shape(kName, args.shape);
  check_pointer(kName, "x0", args.x0);
  check_pointer(kName, "weight", args.weight);
  check_pointer(kName, "y", args.y);
  check_second(kName, "x1", args.shape.c1, args.x1);
}
template void check(const BasicConv2dArgs<float>&);
template void check(const BasicConv2dArgs<bf16>&);
template void check(const BasicConv2dArgs<float, bf16>&);
template void check(const BasicConv2dArgs<bf16, float>&);

void check(const NormalisedConv2dArgs& args) {
  constexpr const char* kName = "conv2d_normalised";
  check(args.conv);
  check_pointer(kName, "coefficients", args.coefficients);
  const ConvShortcut& s = args.shortcut;
  if (s.x0 == nullptr) return;
  require(s.c0 >= 1 && s.c1 >= 0, "{}: a shortcut of c0={} and c1={} channels", kName, s.c0, s.c1);
  require(args.conv.residual == nullptr, "{}: a shortcut and a residual", kName);
  check_pointer(kName, "the shortcut's weight", s.weight);
  check_second(kName, "the shortcut's x1", s.c1, s.x1);
}

template <class T, class Y>
void check(const BasicConv2dBackwardInputArgs<T, Y>& args) {
  constexpr const char* kName = "conv2d_backward_input";
  check_shape(kName, args.shape);
  check_pointer(kName, "dy", args.dy);
  check_pointer(kName, "weight", args.weight);
  check_pointer(kName, "dx0", args.dx0);
  check_second(kName, "dx1", args.shape.c1, args.dx1);
}
template void check(const BasicConv2dBackwardInputArgs<float>&);
template void check(const BasicConv2dBackwardInputArgs<bf16>&);
template void check(const BasicConv2dBackwardInputArgs<float, bf16>&);
template void check(const BasicConv2dBackwardInputArgs<bf16, float>&);

template <class T, class X>
void check(const BasicConv2dBackwardWeightArgs<T, X>& args) {
  constexpr const char* kName = "conv2d_backward_weight";
  check_shape(kName, args.shape);
  check_pointer(kName, "x0", args.x0);
  check_pointer(kName, "dy", args.dy);
  check_pointer(kName, "dweight", args.dweight);
  check_second(kName, "x1", args.shape.c1, args.x1);
  if constexpr (!std::is_same_v<T, X>) {
    const ConvShape& s = args.shape;
    const int64_t few = sizeof(T) == sizeof(float) ? s.k : s.c0;
    require(weight_gradient_of_few(s, few, few == s.k ? s.c0 : s.k),
            "{}: c0={} c1={} k={} filter {} stride {}, {} wide: not of f32 and bf16", kName, s.c0,
            s.c1, s.k, s.r, s.stride, s.w);
  }
}
template void check(const BasicConv2dBackwardWeightArgs<float>&);
template void check(const BasicConv2dBackwardWeightArgs<bf16>&);
template void check(const BasicConv2dBackwardWeightArgs<float, bf16>&);
template void check(const BasicConv2dBackwardWeightArgs<bf16, float>&);

template <class T>
void check(const BasicConv2dPackArgs<T>& args) {
  constexpr const char* kName = "conv2d_pack";
  check_shape(kName, args.shape);
  if (args.packed)
    check_pointer(kName, "weight", args.weight);
  else
    check_pointer(kName, "elements", args.elements);
}
template void check(const BasicConv2dPackArgs<float>&);
template void check(const BasicConv2dPackArgs<bf16>&);

}  // namespace diffscm::kernels
