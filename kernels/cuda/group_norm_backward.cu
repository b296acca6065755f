// Group norm backward: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T>
void group_norm_backward(const BasicGroupNormBackwardArgs<T>&, Stream) {
  fail("group_norm_backward: not implemented");
}
template void group_norm_backward(const BasicGroupNormBackwardArgs<float>&, Stream);
template void group_norm_backward(const BasicGroupNormBackwardArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
