// Convolution backward to input: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T>
void conv2d_backward_input(const BasicConv2dBackwardInputArgs<T>&, Stream) {
  fail("conv2d_backward_input: not implemented");
}
template void conv2d_backward_input(const BasicConv2dBackwardInputArgs<float>&, Stream);
template void conv2d_backward_input(const BasicConv2dBackwardInputArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
