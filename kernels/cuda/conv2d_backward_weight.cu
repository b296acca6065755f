// Convolution backward to weights: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T>
void conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<T>&, Stream) {
  fail("conv2d_backward_weight: not implemented");
}
template void conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<float>&, Stream);
template void conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
