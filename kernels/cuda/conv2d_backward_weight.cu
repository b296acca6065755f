// Convolution backward to weight and bias: picks a rung (as conv2d.cu does), calls. The bias
// gradient is dy's column sum, which tensor cores give along with the weight's.
//
// Warpgroups are predicted to be faster nearly everywhere, but have not run on a GPU: they are used
// when DIFFSCM_CONV asks for them, as `weights` where they pay, as `wgmma` wherever they can.
#include "kernels/cuda/conv2d_backward_weight.h"

#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T>
void run_conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<T>& args,
                                std::optional<ConvRung> rung, Stream stream) {
  constexpr const char* kName = "conv2d_backward_weight";
  const ConvShape& s = args.shape;
  check_conv_size(kName, s);
  if (rung == ConvRung::kNaive) return conv2d_backward_weight_naive(args, stream);
  require(rung != ConvRung::kCudnn,
          "{}: DIFFSCM_CONV=cudnn serves forward and backward to input only; choose mma, tiled or "
          "naive",
          kName);
  if (rung != ConvRung::kTiled) {
    bool supported = false;
    if constexpr (sizeof(T) == sizeof(bf16)) {
      const bool wanted =
          rung ? rung == ConvRung::kWgmma : conv_wish() == "weights" && weight_wgmma_pays(s);
      if (wanted && conv2d_backward_weight_wgmma_supports(args))
        return conv2d_backward_weight_wgmma(args, stream);
      supported = conv2d_backward_weight_mma_supports(args);
      if (supported) return conv2d_backward_weight_mma(args, stream);
    }
    if (rung == ConvRung::kMma) require_conv_mma(supported, kName, s, conv_type<T>());
  }
  if (args.dbias)
    column_sum(BasicColumnSumArgs<T>{s.n * s.p() * s.q(), s.k, args.dy, args.dbias}, stream);
  conv2d_backward_weight_tiled(args, stream);
}
template void run_conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<float>&,
                                         std::optional<ConvRung>, Stream);
template void run_conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<bf16>&,
                                         std::optional<ConvRung>, Stream);

template <class T>
void conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<T>& args, Stream stream) {
  run_conv2d_backward_weight(args, conv_rung_from_environment(), stream);
}
template void conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<float>&, Stream);
template void conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
