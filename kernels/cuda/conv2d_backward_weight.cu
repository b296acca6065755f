// Convolution backward to weight and bias: checks the arguments, picks a rung, calls. The bias
// gradient is dy's column sum.
#include "kernels/cuda/conv2d_backward_weight.h"

#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr const char* kName = "conv2d_backward_weight";

void check_shape(const ConvShape& s) {
  require(s.n >= 1 && s.h >= 1 && s.w >= 1 && s.c0 >= 1 && s.c1 >= 0 && s.k >= 1,
          "{}: sizes must be at least 1 (c1: 0), got n={} h={} w={} c0={} c1={} k={}", kName, s.n,
          s.h, s.w, s.c0, s.c1, s.k);
  require(s.r == s.s && (s.r == 1 || s.r == 3), "{}: the filter must be 1x1 or 3x3, got {}x{}",
          kName, s.r, s.s);
  require(s.stride == 1 || s.stride == 2, "{}: stride must be 1 or 2, got {}", kName, s.stride);
  require(!s.upsample || (s.stride == 1 && s.r == 3),
          "{}: an upsampled input needs a 3x3 filter with stride 1, got {}x{} with stride {}",
          kName, s.r, s.s, s.stride);
  require(s.c1 == 0 || (s.stride == 1 && !s.upsample),
          "{}: two inputs (c1={}) need stride 1 and no upsampling, got stride {} and upsample={}",
          kName, s.c1, s.stride, s.upsample);
}

void check_pointer(const char* argument, const void* pointer) {
  require(pointer != nullptr, "{}: {} is null", kName, argument);
}

}  // namespace

template <class T>
void conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<T>& args, Stream stream) {
  const ConvShape& s = args.shape;
  check_shape(s);
  check_pointer("x0", args.x0);
  check_pointer("dy", args.dy);
  check_pointer("dweight", args.dweight);
  require((args.x1 != nullptr) == (s.c1 > 0), "{}: x1 must be given exactly when c1 > 0, got c1={}",
          kName, s.c1);
  if (args.dbias)
    column_sum(BasicColumnSumArgs<T>{s.n * s.p() * s.q(), s.k, args.dy, args.dbias}, stream);
  if constexpr (sizeof(T) == sizeof(bf16)) {
    if (conv2d_backward_weight_mma_supports(args)) return conv2d_backward_weight_mma(args, stream);
  }
  conv2d_backward_weight_tiled(args, stream);
}
template void conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<float>&, Stream);
template void conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
