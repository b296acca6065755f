// Convolution, the rung that is not ours: cuDNN, to compare with (kernels/cuda/cudnn.h). It takes
// plain convolutions; what our rungs fuse (a second input, enlargement, bias, residual) is refused
// rather than imitated by extra passes, which would make the comparison unfair.
#include "kernels/cuda/conv2d_rungs.h"
#ifdef __CUDACC__
#include "kernels/cuda/cudnn.h"
#endif

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

#ifdef __CUDACC__
template <class T>
void run(cudnn::Pass pass, const ConvShape& shape, const T* x, const T* weight, const T* y,
         Stream stream) {
  cudnn::Convolution c{};
  c.pass = pass;
  c.shape = shape;
  c.type = sizeof(T) == sizeof(float) ? cudnn::Type::f32 : cudnn::Type::bf16;
  c.x = const_cast<T*>(x);
  c.weight = const_cast<T*>(weight);
  c.y = const_cast<T*>(y);
  cudnn::run(c, stream);
}
#endif

void require_plain(const char* operation, const ConvShape& s, bool epilogue) {
#ifndef __CUDACC__
  fail("{}: DIFFSCM_CONV=cudnn needs the target cuda; choose mma, tiled or naive", operation);
#endif
  require(s.c1 == 0 && !s.upsample && !epilogue,
          "{}: DIFFSCM_CONV=cudnn takes one input, not enlarged, and no bias or residual (c1={} "
          "upsample={}); choose mma, tiled or naive",
          operation, s.c1, s.upsample);
}

}  // namespace

template <class T>
void conv2d_cudnn(const BasicConv2dArgs<T>& a, [[maybe_unused]] Stream stream) {
  require_plain("conv2d", a.shape, a.bias || a.residual);
#ifdef __CUDACC__
  run<T>(cudnn::Pass::forward, a.shape, a.x0, a.weight, a.y, stream);
#endif
}
template <class T>
void conv2d_backward_input_cudnn(const BasicConv2dBackwardInputArgs<T>& a,
                                 [[maybe_unused]] Stream stream) {
  require_plain("conv2d_backward_input", a.shape, false);
#ifdef __CUDACC__
  run<T>(cudnn::Pass::backward_input, a.shape, a.dx0, a.weight, a.dy, stream);
#endif
}
template void conv2d_cudnn(const BasicConv2dArgs<float>&, Stream);
template void conv2d_cudnn(const BasicConv2dArgs<bf16>&, Stream);
template void conv2d_backward_input_cudnn(const BasicConv2dBackwardInputArgs<float>&, Stream);
template void conv2d_backward_input_cudnn(const BasicConv2dBackwardInputArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
