// Convolution backward to input: picks a rung (as conv2d.cu does), calls.
#include "kernels/cuda/conv2d_rungs.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T>
void run_conv2d_backward_input(const BasicConv2dBackwardInputArgs<T>& args,
                               std::optional<ConvRung> rung, Stream stream) {
  constexpr const char* kName = "conv2d_backward_input";
  const ConvShape& s = args.shape;
  check_conv_size(kName, s);
  if (rung == ConvRung::kNaive) return conv2d_backward_input_naive(args, stream);
  if (rung == ConvRung::kCudnn) return conv2d_backward_input_cudnn(args, stream);
  if (rung != ConvRung::kTiled) {
    bool supported = false;
    if constexpr (sizeof(T) == sizeof(bf16)) {
      if ((rung ? rung == ConvRung::kWgmma : wgmma_pays(s, s.n * s.h * s.w, s.c(), s.c1 == 0)) &&
          conv2d_backward_input_wgmma_supports(args))
        return conv2d_backward_input_wgmma(args, stream);
      supported = conv2d_backward_input_mma_supports(args);
      if (supported) return conv2d_backward_input_mma(args, stream);
    }
    if (rung == ConvRung::kMma) require_conv_mma(supported, kName, args.shape, conv_type<T>());
  }
  conv2d_backward_input_tiled(args, stream);
}
template void run_conv2d_backward_input(const BasicConv2dBackwardInputArgs<float>&,
                                        std::optional<ConvRung>, Stream);
template void run_conv2d_backward_input(const BasicConv2dBackwardInputArgs<bf16>&,
                                        std::optional<ConvRung>, Stream);

template <class T>
void conv2d_backward_input(const BasicConv2dBackwardInputArgs<T>& args, Stream stream) {
  run_conv2d_backward_input(args, conv_rung_from_environment(), stream);
}
template void conv2d_backward_input(const BasicConv2dBackwardInputArgs<float>&, Stream);
template void conv2d_backward_input(const BasicConv2dBackwardInputArgs<bf16>&, Stream);

// As run_mixed in conv2d.cu.
template <class T, class Y>
void run_mixed(const BasicConv2dBackwardInputArgs<T, Y>& args, Stream stream) {
  check_conv_size("conv2d_backward_input", args.shape);
  if (conv_rung_from_environment() == ConvRung::kNaive)
    return conv2d_backward_input_naive(args, stream);
  conv2d_backward_input_tiled(args, stream);
}
void conv2d_backward_input_f32_bf16(const BasicConv2dBackwardInputArgs<float, bf16>& args,
                                    Stream stream) {
  run_mixed(args, stream);
}
void conv2d_backward_input_bf16_f32(const BasicConv2dBackwardInputArgs<bf16, float>& args,
                                    Stream stream) {
  run_mixed(args, stream);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
