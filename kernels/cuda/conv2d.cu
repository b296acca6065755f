// Convolution: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T>
void conv2d(const BasicConv2dArgs<T>&, Stream) {
  fail("conv2d: not implemented");
}
template void conv2d(const BasicConv2dArgs<float>&, Stream);
template void conv2d(const BasicConv2dArgs<bf16>&, Stream);
void conv2d_pack(const Conv2dPackArgs&, Stream) {
  fail("conv2d_pack: not implemented");
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
